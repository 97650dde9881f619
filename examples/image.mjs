import { readFileSync } from 'node:fs';
import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const interaction = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: [
    { type: 'text', text: 'Where does the train leave?' },
    { type: 'image', data: readFileSync('sign.png').toString('base64'), mime_type: 'image/png', resolution: 'high' },
  ],
});
console.log(interaction.output_text);
