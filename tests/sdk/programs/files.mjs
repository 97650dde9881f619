import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { GoogleGenAI } from "@google/genai";

const client = new GoogleGenAI({});
const path = mkdtempSync("/tmp/antiphon-") + "/cats.txt";
writeFileSync(path, "Cats purr when they are happy. A kitten drinks milk at noon.");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const file = await client.files.upload({ file: path, config: { displayName: "On cats" } });
console.log(file.displayName, file.mimeType, file.sizeBytes, file.state);
const large = await client.files.upload({ file: new Blob(["0123456789".repeat(1_000_000)], { type: "text/csv" }) });
const names = [];
for await (const listed of await client.files.list({ config: { pageSize: 1 } })) names.push(listed.name);
console.log(large.sizeBytes, names.includes(large.name) && names.includes(file.name));
console.log((await client.files.get({ name: file.name })).uri === file.uri);
const copy = path + ".copy";
await client.files.download({ file, downloadPath: copy });
while (!existsSync(copy) || readFileSync(copy).length < 60) await sleep(20); // the client does not wait for the disk
console.log(readFileSync(copy, "utf8") === readFileSync(path, "utf8"));

const store = await client.fileSearchStores.create({ config: { displayName: "Pets" } });
let operation = await client.fileSearchStores.uploadToFileSearchStore({
  fileSearchStoreName: store.name,
  file: path,
  config: {
    displayName: "Cats again",
    customMetadata: [{ key: "year", numericValue: 2020 }],
    chunkingConfig: { whiteSpaceConfig: { maxTokensPerChunk: 50, maxOverlapTokens: 5 } },
  },
});
while (!operation.done) {
  await sleep(50);
  operation = await client.operations.get({ operation });
}
console.log(operation.error, operation.response.documentName.startsWith(store.name));
let imported = await client.fileSearchStores.importFile({ fileSearchStoreName: store.name, fileName: file.name });
while (!imported.done) {
  await sleep(50);
  imported = await client.operations.get({ operation: imported });
}
const documents = [];
for await (const document of await client.fileSearchStores.documents.list({ parent: store.name })) documents.push(document);
console.log(documents.map((document) => `${document.displayName} ${document.state}`).join(", "));
try {
  await client.fileSearchStores.delete({ name: store.name });
} catch (error) {
  console.log(error.status, error.message.includes("FAILED_PRECONDITION"));
}
await client.fileSearchStores.delete({ name: store.name, config: { force: true } });
await client.files.delete({ name: file.uri });
console.log((await client.files.list()).pageLength >= 1);
