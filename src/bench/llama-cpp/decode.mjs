// Greedy decoding in llama.cpp: node decode.mjs FILE.gguf THREADS TOKENS ROUNDS
// Prints tokens per second after the first token, the median of the rounds after a warm-up.
import {getLlama} from "node-llama-cpp";

const [threads, tokens, rounds] = process.argv.slice(3).map(Number);
const llama = await getLlama({build: "never", gpu: false, logLevel: "error", maxThreads: threads});
const model = await llama.loadModel({modelPath: process.argv[2]});
const context = await model.createContext({contextSize: 512, threads});
const sequence = context.getSequence();
const prompt = Array.from({length: 16}, (_, i) => 3 + (i * 37) % 200);
const rates = [];
for (let round = -1; round < rounds; round++) {
  await sequence.clearHistory();
  let count = 0;
  let start = 0;
  for await (const _ of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
    if (++count === 1) {
      start = performance.now();
    }
    if (count === tokens) {
      break;
    }
  }
  if (round >= 0) {
    rates.push((1000 * (tokens - 1)) / (performance.now() - start));
  }
}
console.log(rates.sort((a, b) => a - b)[rates.length >> 1].toFixed(1));
process.exit(0);
