import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const trigger = await client.triggers.create({
  schedule: '0 9 * * 1-5',
  time_zone: 'Europe/Paris',
  display_name: 'report',
  interaction: { model: 'gemini-3-flash-preview', input: 'Write the slow report.' },
});
console.log(trigger.status, trigger.next_run_time);

let execution = await client.triggers.run(trigger.id);
while (execution.status === 'in_progress') {
  await new Promise((resolve) => setTimeout(resolve, 500));
  [execution] = (await client.triggers.listExecutions(trigger.id)).trigger_executions;
}
console.log(execution.status, (await client.interactions.get(execution.interaction_id)).output_text);

console.log((await client.triggers.update(trigger.id, { status: 'paused' })).status);
await client.triggers.delete(trigger.id);
