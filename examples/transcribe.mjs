import { readFileSync } from 'node:fs';
import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const stream = await client.interactions.create({
  model: 'gemini-3.5-transcribe',
  input: [{ type: 'audio', data: readFileSync('talk.wav').toString('base64'), mime_type: 'audio/wav' }],
  generation_config: { transcription_config: { mode: { type: 'verbatim', timestamp_granularities: ['word'] } } },
  stream: true,
});
let text = '';
for await (const event of stream) {
  if (event.event_type !== 'step.delta') continue;
  if (event.delta.type === 'text') text += event.delta.text; // half a minute of speech at a time
  for (const word of event.delta.annotations ?? []) {
    // Positions are bytes of the whole text.
    const said = Buffer.from(text).subarray(word.start_index, word.end_index).toString();
    console.log(word.start_offset, said);
  }
}
