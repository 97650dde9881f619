import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const model = 'gemini-3-flash-preview';
const weather = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather in a city, now.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

const asked = await client.interactions.create({ model, input: 'How is the weather in Paris?', tools: [weather] });
const call = asked.steps.at(-1);
console.log(asked.status, call.name, call.arguments);

const result = { type: 'function_result', call_id: call.id, name: call.name, result: { degrees: 21 } };
const answered = await client.interactions.create({ model, input: [result], previous_interaction_id: asked.id });
console.log(answered.status, answered.output_text);
