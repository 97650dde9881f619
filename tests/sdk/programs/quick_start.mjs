import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});

const interaction = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: 'Tell me a short joke about programming.',
});

console.log(interaction.steps.at(-1).content[0].text);
