// llama.cpp's greedy texts: node llama.js JOBS, in JSON: [["model.gguf", count, "a text" or [1, 2]], ...].
import { getLlama } from "node-llama-cpp";

const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: 1 });
const texts = [];
for (const [path, count, given] of JSON.parse(process.argv[2])) {
  const model = await llama.loadModel({ modelPath: path });
  const context = await model.createContext({
    contextSize: 512,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
  });
  const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
  const prompt = Array.isArray(given) ? given : [...begin, ...model.tokenize(given)];
  const ids = [];
  const options = { temperature: 0, yieldEogToken: true };
  for await (const id of context.getSequence().evaluate(prompt, options)) {
    ids.push(id);
    if (ids.length === count) break;
  }
  texts.push({ prompt, ids, text: model.detokenize(ids) });
  await model.dispose();
}
console.log(JSON.stringify(texts));
await llama.dispose();
