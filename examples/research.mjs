import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
let run = await client.interactions.create({
  agent: 'deep-research-preview-04-2026', input: 'What is an antiphon, and who sings it?', background: true,
});
while (run.status === 'in_progress') {
  await new Promise((resolve) => setTimeout(resolve, 500));
  run = await client.interactions.get(run.id);
}
for (const step of run.steps.filter((step) => step.type === 'model_output')) {
  for (const part of step.content) {
    for (const note of part.annotations ?? []) {
      const words = Buffer.from(part.text).subarray(note.start_index, note.end_index);
      console.log(`${words} <- ${note.url}`);
    }
  }
}
