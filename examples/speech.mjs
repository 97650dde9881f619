import { writeFileSync } from 'node:fs';
import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const stream = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: 'Tell me a joke.',
  response_format: { type: 'audio', mime_type: 'audio/mp3' },
  stream: true,
});
const parts = [];
for await (const event of stream) {
  if (event.event_type === 'step.delta' && event.delta.type === 'audio') {
    parts.push(Buffer.from(event.delta.data, 'base64')); // a player can begin with the first
  }
}
writeFileSync('joke.mp3', Buffer.concat(parts));
console.log(parts.length > 0, 'joke.mp3');
