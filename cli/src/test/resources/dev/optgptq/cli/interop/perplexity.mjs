// The perplexity of a GGUF file in llama.cpp, over windows of one length: node perplexity.mjs MODULES MODEL TEXT WINDOW
import fs from "node:fs";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [modules, modelPath, textPath, length] = process.argv.slice(2);
const entry = path.join(modules, "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry));
const window = Number(length);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 2});
const model = await llama.loadModel({modelPath});
const tokens = model.tokenize(fs.readFileSync(textPath, "utf8"), false);
const context = await model.createContext({contextSize: window + 8, batchSize: window});
let loss = 0, count = 0;
for (let at = 0; at + window <= tokens.length; at += window) {
  const ids = tokens.slice(at, at + window);
  const sequence = context.getSequence();
  const outputs = await sequence.controlledEvaluate(
    ids.map((id, i) => i + 1 < window ? [id, {generateNext: {probabilities: true}}] : id));
  for (let i = 0; i + 1 < window; i++, count++) {
    loss -= Math.log(outputs[i].next.probabilities.get(ids[i + 1]));
  }
  await sequence.clearHistory();
  sequence.dispose();
}
console.log(JSON.stringify({tokens: tokens.length, perplexity: Math.exp(loss / count)}));
process.exit(0);
