import { writeFileSync } from "node:fs";
import { GoogleGenAI } from "@google/genai";

const client = new GoogleGenAI({});
writeFileSync("prices.csv", "fruit,price\napple,1.20\npear,0.95\n");

const file = await client.files.upload({ file: "prices.csv", config: { displayName: "Prices", mimeType: "text/csv" } });
console.log(file.name, file.state, file.sizeBytes);

const interaction = await client.interactions.create({
  model: "gemini-3-flash-preview",
  input: [
    { type: "text", text: "What does a pear cost?" },
    { type: "document", uri: file.uri, mime_type: "text/csv" },
  ],
});
console.log(interaction.output_text);

for await (const listed of await client.files.list()) console.log(listed.displayName);
await client.files.delete({ name: file.name });
