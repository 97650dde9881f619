import { readFileSync } from 'node:fs';
import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const question = { type: 'text', text: 'What is said in the recording?' };

// A short recording travels with the request.
const data = readFileSync('talk.wav').toString('base64');
const inline = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: [question, { type: 'audio', data, mime_type: 'audio/wav' }],
});
console.log(inline.output_text);

// A long one is uploaded once, and asked about as often as you like.
const file = await client.files.upload({ file: 'talk.wav', config: { mimeType: 'audio/wav' } });
const uploaded = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: [question, { type: 'audio', uri: file.uri, mime_type: 'audio/wav' }],
});
console.log(uploaded.output_text);
