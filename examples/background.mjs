import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
let run = await client.interactions.create({
  model: 'gemini-3-flash-preview', input: 'Write the slow report.', background: true,
});
while (run.status === 'in_progress') {
  await new Promise((resolve) => setTimeout(resolve, 500));
  run = await client.interactions.get(run.id);
}
console.log(run.status, run.output_text);
