import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});

const first = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: 'Hi, my name is Phil.',
});
console.log(`Model: ${first.steps.at(-1).content[0].text}`);

const second = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: 'What is my name?',
  previous_interaction_id: first.id,
});
console.log(`Model: ${second.steps.at(-1).content[0].text}`);
