import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const stream = await client.interactions.create({
  model: 'gemini-3-flash-preview', input: 'Tell me a joke about programming.', stream: true,
});
for await (const event of stream) {
  if (event.event_type === 'step.delta' && event.delta.type === 'text') process.stdout.write(event.delta.text);
  else if (event.event_type === 'interaction.completed') console.log(`\n${event.interaction.status}`);
}
