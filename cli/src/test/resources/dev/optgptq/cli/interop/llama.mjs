// GGUF files in llama.cpp: node llama.mjs MODULES JOBS RESULTS. Jobs are JSON: {model, sequences} writes, beside the model, the probability of
// every token after each token as float32; {model, text, window} gives the tokens of a text and its perplexity over windows of one length.
import fs from "node:fs";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [modules, jobs, results] = process.argv.slice(2);
const {getLlama} = await import(pathToFileURL(path.join(modules, "node-llama-cpp", "dist", "index.js")));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 2});

/** Keys and values are not rounded to float16, and attention is not fused. */
const exact = {experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32", flashAttention: false};

/** What llama.cpp predicts after each token of a sequence but the last: maps from tokens to probabilities, the likeliest first. */
async function* predictions(context, ids) {
  const sequence = context.getSequence();
  const outputs = await sequence.controlledEvaluate(
    ids.map((id) => [id, {generateNext: {probabilities: true}}]));
  yield* outputs.map(({next}) => next.probabilities);
  await sequence.clearHistory();
  sequence.dispose();
}

async function probabilities(model, job) {
  const length = job.sequences[0].length;
  const vocabulary = job.vocabulary;
  const context = await model.createContext({...exact, contextSize: length + 8, batchSize: length + 8});
  const all = new Float32Array(job.sequences.length * length * vocabulary);
  let at = 0;
  for (const ids of job.sequences) {
    for await (const found of predictions(context, ids)) {
      for (const [token, probability] of found) {
        all[at + token] = probability;
      }
      at += vocabulary;
    }
  }
  fs.writeFileSync(job.model + ".probabilities", all);
  await context.dispose();
  return {};
}

async function perplexity(model, {text, window}) {
  const tokens = model.tokenize(text, false);
  const context = await model.createContext({...exact, contextSize: window + 8, batchSize: window + 8});
  let loss = 0, count = 0;
  for (let from = 0; from + window <= tokens.length; from += window) {
    const ids = tokens.slice(from, from + window);
    let next = 1;
    for await (const found of predictions(context, ids.slice(0, -1))) {
      loss -= Math.log(found.get(ids[next++]));
      count++;
    }
  }
  await context.dispose();
  return {tokens, perplexity: Math.exp(loss / count)};
}

const found = [];
for (const job of JSON.parse(fs.readFileSync(jobs, "utf8"))) {
  try {
    const model = await llama.loadModel({modelPath: job.model});
    found.push(job.sequences ? await probabilities(model, job) : await perplexity(model, job));
    await model.dispose();
  } catch (error) {
    found.push({error: String(error)});
  }
}
fs.writeFileSync(results, JSON.stringify(found));
process.exit(0);
