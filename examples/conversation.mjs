import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const model = 'gemini-3-flash-preview';

const first = await client.interactions.create({ model, input: 'Hi, my name is Phil.' });
const second = await client.interactions.create({ model, input: 'What is my name?', previous_interaction_id: first.id });
console.log(second.output_text);
