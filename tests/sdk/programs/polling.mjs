import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});

let interaction = await client.interactions.create({
  model: 'gemini-3-flash-preview',
  input: process.argv[2],
  background: true,
});

while (true) {
  interaction = await client.interactions.get(interaction.id);
  if (interaction.status === 'completed') {
    console.log(interaction.steps.at(-1).content[0].text);
    break;
  } else if (interaction.status === 'failed') {
    console.log('Failed:', interaction.error);
    break;
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
