import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});

const stream = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: 'Tell me a short joke about programming.',
  stream: true,
});

for await (const event of stream) {
  if (event.type === 'step.delta') {
    if (event.delta.type === 'text') {
      process.stdout.write(event.delta.text);
    }
  } else if (event.type === 'interaction.complete') {
    console.log(`\n${event.interaction.status}: ${event.interaction.usage.total_tokens} tokens`);
  }
}
