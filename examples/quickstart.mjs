import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const input = 'Tell me a short joke about programming.';
const interaction = await client.interactions.create({ model: 'gemini-3-flash-preview', input });
console.log(interaction.output_text);
