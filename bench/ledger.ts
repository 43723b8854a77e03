import { writeFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { openDatabase } from '../src/database/pool';
import { LlmUsage } from '../src/entities/llm-usage.entity';
import { newId } from '../src/lib/ids';
import type { AdmittedCall, Settlement } from '../src/domain/call';
import { startPostgres } from '../test/support/postgres';
import { percentile, printTable } from './lib/figures';
import { dollars, endOf, newCall, POOL, prepare, type Scene } from './lib/ledger-scene';
import { printMachine } from './lib/machine';
import { rate, waits } from './lib/pace';
import { fillLog, reuseLog } from './lib/used-wal';

/** Calls that wait at the same time, as on a busy server. */
const WAITING = 512;
const SECONDS = 4;

/** One UPDATE for each call in a transaction of its own, on one hot row: what a budget is in most products. */
async function updatePerCall(url: string): Promise<number> {
  const db = await openDatabase({ url, poolSize: POOL }, () => {});
  await db.query('CREATE TABLE bench_budget (id integer PRIMARY KEY, room numeric NOT NULL)');
  await db.query('INSERT INTO bench_budget VALUES (1, 1000000000)');
  const found = await rate(POOL, SECONDS, () =>
    db.query('UPDATE bench_budget SET room = room - $1::numeric WHERE id = 1 AND room >= $1::numeric RETURNING room', [
      dollars(),
    ]),
  );
  await db.close();
  return found;
}

/** What a team writes first: save() of the row and an UPDATE per budget, in a transaction. */
async function saveAndUpdates(scene: Scene): Promise<number> {
  const { db, budgetIds } = scene;
  await db.query('CREATE TABLE bench_budgets (id text PRIMARY KEY, spent numeric NOT NULL)');
  for (const id of budgetIds) await db.query('INSERT INTO bench_budgets VALUES ($1, 0)', [id]);
  return rate(POOL, SECONDS, () =>
    db.transaction(async (tx) => {
      const end = endOf(scene, { id: newId('call'), occurredAt: new Date().toISOString(), heldOn: [] });
      await tx.manager.getRepository(LlmUsage).save(entityOf(end));
      for (const id of budgetIds)
        await tx.query('UPDATE bench_budgets SET spent = spent + $2::numeric WHERE id = $1', [id, end.cost!.total]);
    }),
  );
}

const entityOf = (end: Settlement): Record<string, unknown> => ({
  organizationId: end.organizationId,
  occurredAt: new Date(end.occurredAt),
  id: end.id,
  userId: end.userId,
  tokenId: end.tokenId,
  projectId: end.projectId,
  scenario: end.scenario,
  door: 'GRAPHQL',
  operation: 'CHAT',
  traceId: end.traceId,
  streamed: false,
  model: end.model,
  servedModel: end.servedModel,
  provider: end.provider,
  upstream: end.upstream,
  attempts: 1,
  status: end.status,
  finishReason: end.finishReason,
  uncachedPromptTokens: 100,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  cacheWriteOneHourTokens: 0,
  outputTokens: 50,
  reasoningTokens: 0,
  usageSource: end.usageSource,
  rawUsage: end.rawUsage,
  priceNumber: '1',
  cost: end.cost!.total,
  costInput: end.cost!.total,
  costCacheRead: '0',
  costCacheWrite: '0',
  costOutput: '0',
  costReasoning: '0',
  costRequest: '0',
  latencyMs: end.latencyMs,
  omittedMessages: 0,
  batchId: '0',
});

/** Rows a second that Postgres takes in by COPY from a file, in one transaction: the floor of writing them at all. */
async function copyRows(url: string, scene: Scene): Promise<number> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const file = path.join(os.tmpdir(), `weir-bench-copy-${process.pid}.csv`);
  const count = 50_000;
  const { world, projectId } = scene;
  const lines = Array.from(
    { length: count },
    () =>
      `${world.organizationId},${new Date().toISOString()},${newId('call')},${world.member.id},${world.member.tokenId},${projectId},DEFAULT,GRAPHQL,CHAT,req_0123456789,pln_0123456789abcdef,${world.member.tokenId},1000,100,0.00123456,100,${'0'.repeat(32)},f,bench,bench,bench,DIRECT,1,COMPLETED,STOP,100,0,0,0,50,0,PROVIDER,"{""prompt_tokens"": 100, ""completion_tokens"": 50, ""total_tokens"": 150}",1,${dollars()},0.1,0,0,0,0,0,812,0`,
  );
  writeFileSync(file, lines.join('\n'), { mode: 0o644 });
  const startedAt = performance.now();
  await client.query(
    `COPY llm_usage (organization_id, occurred_at, id, user_id, token_id, project_id, scenario, door, operation, request_id, plan_id, session_id,
       max_tokens, prompt_tokens_estimate, hold, asked_input_tokens, trace_id, streamed, model, served_model, provider, upstream, attempts, status, finish_reason,
       uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source, raw_usage, price_number, cost, cost_input, cost_cache_read,
       cost_cache_write, cost_output, cost_reasoning, cost_request, latency_ms, batch_id) FROM '${file}' WITH (FORMAT csv)`,
  );
  const seconds = (performance.now() - startedAt) / 1_000;
  rmSync(file);
  await client.end();
  return count / seconds;
}

async function main(): Promise<void> {
  printMachine();
  const postgres = await startPostgres({ durable: true });
  try {
    const url = postgres.url('ledger');
    const admin = new Client({ connectionString: postgres.url('postgres') });
    await admin.connect();
    await admin.query('CREATE DATABASE ledger');
    await admin.end();
    const scene = await prepare(url);
    const { store, db } = scene;
    await fillLog(db);

    const plain = await updatePerCall(url);
    await rate(WAITING, SECONDS, async () => void (await store.admit([newCall(scene)])));
    const admitted: AdmittedCall[] = [];
    const admissions = await rate(WAITING, SECONDS, async () => {
      const [admission] = await store.admit([newCall(scene)]);
      if (admission?.kind === 'ADMITTED') admitted.push(admission);
    });
    await reuseLog(db);
    const admitWaits = await waits(admissions / 2, SECONDS, async () => {
      const [admission] = await store.admit([newCall(scene)]);
      if (admission?.kind === 'ADMITTED') admitted.push(admission);
    });
    const saved = await saveAndUpdates(scene);
    const half = admitted.splice(0, Math.floor(admitted.length / 2));
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: WAITING }, async () => {
        for (let call = half.pop(); call; call = half.pop()) await store.settle([endOf(scene, call)]);
      }),
    );
    const settledCount = (
      await db.query<{ n: number }>(
        "SELECT count(*)::int AS n FROM llm_usage WHERE price_number = 1 AND budget_ids <> '{}'",
      )
    )[0]!.n;
    const settlements = settledCount / ((performance.now() - startedAt) / 1_000);
    await reuseLog(db);
    const settleWaits = await waits(settlements / 2, SECONDS, async () => {
      const call = admitted.pop();
      if (call) await store.settle([endOf(scene, call)]);
    });
    const copied = await copyRows(url, scene);

    const perSecond = (n: number): string => `${Math.round(n).toLocaleString('en')} /s`;
    printTable('Ledger: four budgets each, one process, fsync on', [
      ['', 'figure', 'ratio', 'goal'],
      ['one UPDATE per call on one hot row, own transaction', perSecond(plain), '1', ''],
      [
        'admissions, unequal amounts, key claimed',
        perSecond(admissions),
        `${(admissions / plain).toFixed(1)} ×`,
        '≥ 10 ×',
      ],
      ["a caller's wait at half of that load, p99", `${percentile(admitWaits, 0.99).toFixed(1)} ms`, '', '< 10 ms'],
      ['save() and one UPDATE per budget', perSecond(saved), '1', ''],
      ['settlements', perSecond(settlements), `${(settlements / saved).toFixed(1)} ×`, '≥ 8 ×'],
      ['bare COPY of the usage rows', perSecond(copied), `${(settlements / copied).toFixed(2)} ×`, '≥ 0.15 ×'],
      ["a caller's wait at half of that load, p99", `${percentile(settleWaits, 0.99).toFixed(1)} ms`, '', '< 10 ms'],
    ]);
    await db.close();
  } finally {
    await postgres.stop();
  }
}

void main().then(
  () => process.exit(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
