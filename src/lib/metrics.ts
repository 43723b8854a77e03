import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry, type CollectFunction } from 'prom-client';

/** Seconds. The second list is the GenAI conventions' for calls of models. */
const WAIT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const MODEL_BUCKETS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const GROUP_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/**
 * Maximum series per metric. Further label sets are counted under OVERFLOW, so that invented names cannot exhaust the
 * memory.
 */
const MAX_SERIES = 2_000;
const OVERFLOW = '__overflow__';

type Labels<L extends string> = Record<L, string>;

/** What the upstream was asked for and who answered, as the GenAI conventions name it. */
const GEN_AI = [
  'gen_ai_operation_name',
  'gen_ai_provider_name',
  'gen_ai_request_model',
  'gen_ai_response_model',
] as const;
type GenAi = (typeof GEN_AI)[number];

/**
 * The metrics of this process, for Prometheus. Counters and histograms are updated per call; gauges of current state
 * are read at each scrape
 * (`state`). Label values come from closed sets (models of the catalogue, codes, steps): never a user, a project, a
 * call or free text.
 */
export class Metrics {
  readonly registry = new Registry();
  private readonly overflowed: Counter<'metric'>;

  readonly httpRequests;
  readonly calls;
  readonly refusals;
  readonly stepSeconds;
  readonly groupSize;
  readonly groupSeconds;
  readonly upstreamSeconds;
  readonly firstChunkSeconds;
  readonly upstreamErrors;
  readonly tokens;
  readonly cost;
  readonly unpricedCalls;
  readonly estimatedCalls;

  constructor({ version }: { version: string }) {
    const { registry } = this;
    collectDefaultMetrics({ register: registry });
    this.overflowed = new Counter({
      name: 'weir_metrics_overflow_total',
      help: `Observations counted under "${OVERFLOW}", since their metric has ${MAX_SERIES} label sets.`,
      labelNames: ['metric'],
      registers: [registry],
    });
    new Gauge({
      name: 'weir_build_info',
      help: 'Always 1; the labels say what runs.',
      labelNames: ['version', 'node'],
      registers: [registry],
    }).set({ version, node: process.version }, 1);

    this.httpRequests = this.counter('weir_http_requests_total', 'Answers over HTTP, by door and status.', [
      'door',
      'status',
    ]);
    this.calls = this.counter('weir_calls_total', 'Calls that this process has booked, by how they ended.', [
      'model',
      'provider',
      'status',
      'upstream',
      'scenario',
    ]);
    this.refusals = this.counter('weir_call_refusals_total', 'Calls that were refused before the upstream was asked.', [
      'code',
    ]);
    this.stepSeconds = this.histogram(
      'weir_call_overhead_seconds',
      'What a step of a call takes here: admission and settlement with their commits.',
      ['phase'],
      WAIT_BUCKETS,
    );
    this.groupSize = this.histogram('weir_group_size', 'Calls that shared one commit.', ['kind'], GROUP_BUCKETS);
    this.groupSeconds = this.histogram(
      'weir_group_commit_seconds',
      'From sending a group of calls to Postgres until it is durable.',
      ['kind'],
      WAIT_BUCKETS,
    );
    this.upstreamSeconds = this.histogram(
      'gen_ai_client_inference_duration_seconds',
      'From asking the upstream until its answer has ended.',
      [...GEN_AI, 'error_type'],
      MODEL_BUCKETS,
    );
    this.firstChunkSeconds = this.histogram(
      'gen_ai_client_inference_time_to_first_chunk_seconds',
      'From asking the upstream until the first piece of a stream.',
      [...GEN_AI, 'error_type'],
      MODEL_BUCKETS,
    );
    this.upstreamErrors = this.counter('weir_upstream_errors_total', 'Failures of the upstream, by kind.', [
      'upstream',
      'kind',
    ]);
    const tokens = (kind: string, what: string) =>
      this.counter<GenAi>(`gen_ai_client_inference_usage_${kind}_tokens_total`, `${what}, as booked.`, GEN_AI);
    this.tokens = {
      input: tokens('input', 'Prompt tokens, cached ones included'),
      output: tokens('output', 'Completion tokens, reasoning included'),
      cacheRead: tokens('cache_read_input', 'Prompt tokens read from a cache'),
      cacheWrite: tokens('cache_write_input', 'Prompt tokens written to a cache'),
      reasoning: tokens('reasoning_output', 'Reasoning tokens'),
    };
    this.cost = this.counter(
      'weir_cost_dollars_total',
      'Booked dollars, for watching only: a floating-point number, while the ledger is exact.',
      ['model', 'provider'],
    );
    this.unpricedCalls = this.counter('weir_unpriced_calls_total', 'Booked calls with tokens and without a price.', [
      'model',
    ]);
    this.estimatedCalls = this.counter('weir_estimated_calls_total', 'Booked calls whose tokens were estimated here.', [
      'model',
    ]);
  }

  /**
   * A gauge that is read at each scrape: one value, or one per set of labels. A gauge whose reader throws is missing
   * from that scrape.
   */
  state<L extends string = never>(
    name: string,
    help: string,
    labelNames: readonly L[],
    read: () => Promise<readonly [Labels<L>, number][]> | readonly [Labels<L>, number][],
  ): void {
    const collect: CollectFunction<Gauge<L>> = async function (this: Gauge<L>): Promise<void> {
      this.reset();
      // Without labels it would be 0 by now.
      if (labelNames.length === 0) this.remove();
      try {
        for (const [labels, value] of await read()) this.set(labels, value);
      } catch {
        // The gauge is missing from this scrape; `weir_dependency_up` shows that the database is unavailable.
      }
    };
    new Gauge({ name, help, labelNames: [...labelNames], registers: [this.registry], collect });
  }

  /** The metrics in Prometheus's text format. */
  async text(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  private counter<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
  ): { add(labels: Labels<L>, value?: number): void } {
    const counter = new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
    const bounded = this.bounded(name, labelNames);
    return { add: (labels, value = 1) => counter.inc(bounded(labels), value) };
  }

  private histogram<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    buckets: number[],
  ): { observe(labels: Labels<L>, value: number): void } {
    const histogram = new Histogram({ name, help, labelNames: [...labelNames], buckets, registers: [this.registry] });
    const bounded = this.bounded(name, labelNames);
    return { observe: (labels, value) => histogram.observe(bounded(labels), value) };
  }

  /** The labels, or those of OVERFLOW once the metric has MAX_SERIES. */
  private bounded<L extends string>(metric: string, labelNames: readonly L[]): (labels: Labels<L>) => Labels<L> {
    const known = new Set<string>();
    const overflow = Object.fromEntries(labelNames.map((name) => [name, OVERFLOW])) as Labels<L>;
    return (labels) => {
      const key = labelNames.map((name) => labels[name]).join('\0');
      if (known.has(key)) return labels;
      if (known.size < MAX_SERIES) {
        known.add(key);
        return labels;
      }
      this.overflowed.inc({ metric });
      return overflow;
    };
  }
}
