import { GoogleGenAI } from "@google/genai";

console.warn = () => {};
const client = new GoogleGenAI({});
const told = {
  interaction: { model: "scripted", input: "Tell me a joke about programming." },
  schedule: "0 9 * * 1-5",
  time_zone: "Europe/Paris",
};
const trigger = await client.triggers.create({ ...told, display_name: "jokes", max_consecutive_failures: 3 });
console.log(trigger.display_name, trigger.status, trigger.schedule, trigger.time_zone, trigger.max_consecutive_failures);
const other = await client.triggers.create(told);
const page = await client.triggers.list({ filter: "status=active", page_size: 1 });
const rest = await client.triggers.list({ filter: "status=active", page_size: 1, page_token: page.next_page_token });
console.log(page.triggers[0].id === other.id, rest.triggers[0].id === trigger.id, rest.next_page_token);
await client.triggers.delete(other.id);

const paused = await client.triggers.update(trigger.id, { status: "paused", display_name: "paused jokes" });
console.log(paused.status, paused.display_name, paused.next_run_time);
let execution = await client.triggers.run(trigger.id);
while (execution.status === "in_progress") {
  await new Promise((resolve) => setTimeout(resolve, 50));
  [execution] = (await client.triggers.listExecutions(trigger.id)).trigger_executions;
}
console.log(execution.status, execution.trigger_id === trigger.id);
console.log((await client.interactions.get(execution.interaction_id)).output_text);
const resumed = await client.triggers.update(trigger.id, { status: "active" });
console.log(resumed.status, resumed.next_run_time === trigger.next_run_time);
console.log((await client.triggers.get(trigger.id)).previous_interaction_id === execution.interaction_id);
try {
  await client.triggers.create({ ...told, schedule: "61 * * * *" });
} catch (error) {
  console.log(error.status ?? error.statusCode, String(error.message).includes("at 'schedule'"));
}
await client.triggers.delete(trigger.id);
console.log((await client.triggers.list()).triggers);
