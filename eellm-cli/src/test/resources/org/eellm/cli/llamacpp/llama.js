// llama.cpp's greedy text: node llama.js MODEL.gguf COUNT TEXT-OR-IDS, in JSON: "a text" or [1, 2].
import { getLlama } from "node-llama-cpp";

const [path, count, given] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: 1 });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({
  contextSize: 512,
  experimentalKvCacheKeyType: "F32",
  experimentalKvCacheValueType: "F32",
});
const parsed = JSON.parse(given);
const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
const prompt = Array.isArray(parsed) ? parsed : [...begin, ...model.tokenize(parsed)];
const ids = [];
const options = { temperature: 0, yieldEogToken: true };
for await (const id of context.getSequence().evaluate(prompt, options)) {
  ids.push(id);
  if (ids.length === Number(count)) break;
}
console.log(JSON.stringify({ prompt, ids, text: model.detokenize(ids) }));
await llama.dispose();
