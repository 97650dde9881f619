import { readFileSync } from 'node:fs';
import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const question = { type: 'text', text: 'What is the total?' };

// A short document travels with the request. Of this one, only the second page is looked at.
const inline = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: [
    question,
    {
      type: 'document',
      data: readFileSync('report.pdf').toString('base64'),
      mime_type: 'application/pdf',
      processing: { type: 'static', page_options: { start_page: 2, end_page: 2 } },
    },
  ],
});
console.log(inline.output_text);

// A long one is uploaded once, and asked about as often as you like.
const file = await client.files.upload({ file: 'report.pdf', config: { mimeType: 'application/pdf' } });
const uploaded = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: [question, { type: 'document', uri: file.uri, mime_type: 'application/pdf' }],
});
console.log(uploaded.output_text);
