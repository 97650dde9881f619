import { writeFileSync } from 'node:fs';
import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const stream = await client.interactions.create({
  model: 'gemini-3.1-flash-image',
  input: 'Draw a sun over the sea.',
  response_format: { type: 'image', mime_type: 'image/png', aspect_ratio: '1:1', image_size: '512' },
  stream: true,
});
for await (const event of stream) {
  if (event.event_type === 'step.delta' && event.delta.type === 'image') {
    writeFileSync('sun.png', Buffer.from(event.delta.data, 'base64'));
    console.log('sun.png', event.delta.mime_type);
  }
}
