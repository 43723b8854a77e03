import type { MigrationInterface, QueryRunner } from 'typeorm';
import { column, commentedView } from './commented-view';

/** Single calls, budgets and prices for people with SQL. */
export class AnalyticsViews20261121140320 implements MigrationInterface {
  name = 'AnalyticsViews20261121140320';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(COST);
    await runner.query(commentedView('calls', 'One row per call that has ended, with what is true of it now, at the prices that hold now. Name a span of occurred_at: single calls are many.', CALL, CALLS));
    await runner.query(commentedView('budgets', 'Every budget with its current period.', BUDGET, BUDGETS));
    await runner.query(commentedView('prices', 'The price book: one row per record and tier of prompt length. Nothing in it is ever changed; a correction is a further record.', PRICE, PRICES));
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const COST = `
  -- With its owner's rights, since parts of price changes name several organisations; and only for rows that the reader may see.
  CREATE FUNCTION weir.reader_cost(u llm_usage) RETURNS weir.cost_parts LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  BEGIN
    IF weir.reader() = '*' OR u.organization_id = weir.reader() THEN RETURN weir.cost_as_of(u, NULL); END IF;
    RETURN NULL;
  END $$;
`;

/** The price of a row is looked up where its model's price has changed since (OFFSET 0: only there); for the rest it is what was booked. */
const now = (name: string, booked = name): string => `CASE WHEN changed.model IS NULL THEN u.${booked} ELSE n.${name} END`;

const CALL = [
  column('id', 'text', 'Id of the call, as applications know it.', 'coalesce(u.corrects_id, u.id)'),
  column('occurred_at', 'timestamptz', "When the call was admitted. Its local day in India: (occurred_at AT TIME ZONE 'Asia/Kolkata')::date.", 'u.occurred_at'),
  column('organization_id', 'text', 'Organisation that the call is booked on.', 'u.organization_id'),
  column('organization', 'text', 'Its name.', 'o.name'),
  column('project_id', 'text', 'Project that the call is booked on; NULL: none.', 'u.project_id'),
  column('project', 'text', 'Its name.', 'p.name'),
  column('user_id', 'text', 'User who made the call.', 'u.user_id'),
  column('user_name', 'text', 'Name of the user.', 'w.name'),
  column('token_id', 'text', 'API token that the call was made with; NULL: another way of logging in.', 'u.token_id'),
  column('conversation_id', 'text', 'Conversation that the call belongs to; NULL: none.', 'u.conversation_id'),
  column('trace_id', 'text', 'Trace id of the client.', 'u.trace_id'),
  column('agent', 'text', 'Label of the calling agent.', 'u.agent'),
  column('scenario', 'text', 'Label of the call: DEFAULT, BACKGROUND, THINK, LONG_CONTEXT, REVIEW or PLAN.', 'u.scenario'),
  column('streamed', 'boolean', 'Whether the answer came as a stream.', 'u.streamed'),
  column('model', 'text', 'Model that was asked for.', 'u.model'),
  column('served_model', 'text', 'Model that answered, and whose price counts.', 'u.served_model'),
  column('provider', 'text', 'Provider that answered; NULL: not known.', 'u.provider'),
  column('deployment', 'text', 'Deployment that answered, by its id at the proxy; NULL: not known.', 'u.deployment'),
  column('service_tier', 'text', 'Service tier of the provider; NULL: its usual one.', 'u.service_tier'),
  column('upstream', 'text', 'LITELLM (through the proxy) or DIRECT.', 'u.upstream'),
  column('attempts', 'integer', 'How often the upstream was tried.', 'u.attempts'),
  column('status', 'text', 'How the call ended: COMPLETED, STOPPED, FAILED or LOST.', 'u.status'),
  column('error_code', 'text', 'Why it failed; NULL: it did not.', 'u.error_code'),
  column('finish_reason', 'text', 'Why the answer ended.', 'u.finish_reason'),
  column('prompt_tokens', 'integer', 'Tokens of the question: uncached, read from the cache and written to it.', 'u.prompt_tokens'),
  column('uncached_prompt_tokens', 'integer', 'Prompt tokens that had nothing to do with a cache.', 'u.uncached_prompt_tokens'),
  column('cache_read_tokens', 'integer', "Prompt tokens from the provider's cache.", 'u.cache_read_tokens'),
  column('cache_write_tokens', 'integer', "Prompt tokens put into the provider's cache.", 'u.cache_write_tokens'),
  column('completion_tokens', 'integer', 'Tokens of the answer, reasoning included.', 'u.completion_tokens'),
  column('reasoning_tokens', 'integer', 'Completion tokens that went into reasoning.', 'u.reasoning_tokens'),
  column('total_tokens', 'integer', 'Prompt and completion tokens.', 'u.total_tokens'),
  column('usage_source', 'text', "Who counted: PROVIDER, ESTIMATED, RECONCILED (the proxy's record, found later) or NONE.", 'u.usage_source'),
  column('cost', 'numeric', 'US dollars, exact, by the price book of now; NULL: no price known. The sum of the columns cost_….', now('cost')),
  column('cost_input', 'numeric', 'Part of cost: uncached prompt tokens.', now('cost_input')),
  column('cost_cache_read', 'numeric', 'Part of cost: tokens read from the cache.', now('cost_cache_read')),
  column('cost_cache_write', 'numeric', 'Part of cost: tokens written to the cache.', now('cost_cache_write')),
  column('cost_output', 'numeric', 'Part of cost: the answer, without reasoning where that is priced apart.', now('cost_output')),
  column('cost_reasoning', 'numeric', 'Part of cost: reasoning, where it is priced apart.', now('cost_reasoning')),
  column('cost_request', 'numeric', 'Part of cost: the fee per request.', now('cost_request')),
  column('price_number', 'bigint', 'Record of analytics.prices that cost was computed with; NULL: no price known.', now('price_number')),
  column('booked_cost', 'numeric', 'US dollars as they were booked when the call was settled or last corrected: what budgets count.', 'u.cost'),
  column('proxy_cost', 'numeric', "US dollars by the proxy's own figure, for comparison only.", 'u.proxy_cost'),
  column('latency_ms', 'integer', 'Milliseconds from admission to the end.', 'u.latency_ms'),
  column('time_to_first_token_ms', 'integer', 'Milliseconds from admission to the first token of a stream.', 'u.time_to_first_token_ms'),
  column('settled_at', 'timestamptz', 'When this was written: for a corrected call, when it was last corrected.', 'u.settled_at'),
  column('corrected', 'boolean', 'Whether later knowledge has replaced what was booked at first.', `u.kind = 'CORRECTION'`),
  column('correction_reason', 'text', 'Why.', 'u.correction_reason'),
];
const CALLS = `llm_usage AS u
      LEFT JOIN organizations AS o ON o.id = u.organization_id
      LEFT JOIN projects AS p ON p.id = u.project_id
      LEFT JOIN users AS w ON w.id = u.user_id
      LEFT JOIN (SELECT c.model, max(c.book) AS book FROM price_changes AS c GROUP BY c.model) AS changed ON changed.model = u.served_model AND changed.book > u.book_number
      LEFT JOIN LATERAL (SELECT t.* FROM weir.reader_cost(u) AS t WHERE changed.model IS NOT NULL OFFSET 0) AS n ON true
    WHERE u.kind <> 'REVERSAL' AND NOT EXISTS (SELECT FROM llm_usage AS later WHERE later.corrects_id IS NOT NULL
      AND later.organization_id = u.organization_id AND later.occurred_at = u.occurred_at AND later.corrects_id = coalesce(u.corrects_id, u.id) AND later.correction > u.correction)`;

const BUDGET = [
  column('budget_id', 'text', 'Id of the budget.', 'b.id'),
  column('organization_id', 'text', 'Organisation that it belongs to.', 'b.organization_id'),
  column('organization', 'text', 'Its name.', 'o.name'),
  column('scope', 'text', 'What it limits: ORGANIZATION, PROJECT, USER or API_TOKEN.', 'b.scope'),
  column('subject_id', 'text', 'Which of these.', 'b.subject_id'),
  column('subject', 'text', 'Its name; NULL for API tokens.', `CASE b.scope WHEN 'ORGANIZATION' THEN o.name WHEN 'PROJECT' THEN p.name WHEN 'USER' THEN w.name END`),
  column('period', 'text', 'DAY, WEEK (from Monday) or MONTH, in its time zone.', 'b.period'),
  column('time_zone', 'text', 'Time zone of its periods, as an IANA name.', 'b.time_zone'),
  column('limit_amount', 'numeric', 'US dollars that may be spent in a period.', 'b.limit_amount'),
  column('soft_limit', 'numeric', 'US dollars above which an alert is made and nothing refused; NULL: none.', 'b.soft_limit'),
  column('spent', 'numeric', 'US dollars of this period, as booked when the calls ended.', 'coalesce(t.spent, 0)'),
  column('held', 'numeric', 'US dollars held for calls that run now.', 'coalesce(t.held, 0)'),
  column('remaining', 'numeric', 'US dollars left, at least 0.', 'greatest(b.limit_amount - coalesce(t.spent, 0) - coalesce(t.held, 0), 0)'),
  column('overage', 'numeric', 'Part of spent that was booked above the limit, where a provider produced more than it was allowed.', 'coalesce(t.overage, 0)'),
  column('percent', 'numeric', 'How full it is: spent and held in percent of the limit, to one decimal; 100 where the limit is 0.', 'CASE WHEN b.limit_amount = 0 THEN 100 ELSE round(100 * (coalesce(t.spent, 0) + coalesce(t.held, 0)) / b.limit_amount, 1) END'),
  column('period_starts_at', 'timestamptz', 'Beginning of this period.', 'coalesce(t.starts_at, weir.local_midnight(d.day, b.time_zone))'),
  column('resets_at', 'timestamptz', 'End of this period: then the next one begins with nothing spent.', 'coalesce(t.ends_at, weir.local_midnight(weir.period_end(b.period, d.day), b.time_zone))'),
  column('plan_id', 'text', 'Plan that made it for its user; NULL: somebody set it.', 'b.plan_id'),
];
const BUDGETS = `budgets AS b
      CROSS JOIN LATERAL (SELECT weir.period_start(b.period, weir.now() AT TIME ZONE b.time_zone) AS day) AS d
      LEFT JOIN budget_periods AS t ON t.budget_id = b.id AND t.starts_on = d.day
      LEFT JOIN organizations AS o ON o.id = b.organization_id
      LEFT JOIN projects AS p ON p.id = b.subject_id
      LEFT JOIN users AS w ON w.id = b.subject_id`;

const perMillion = (rate: string): string => `trim_scale(r.${rate} * 1000000)`;
const PRICE = [
  column('price_number', 'bigint', 'Number of the record: a higher one is later knowledge.', 'm.number'),
  column('model', 'text', 'Model that it prices, as the one that answered.', 'm.model'),
  column('deployment', 'text', 'Deployment that it prices, by its id at the proxy; NULL: all of them.', 'm.deployment'),
  column('organization_id', 'text', 'Organisation whose own price it is; NULL: a general price.', 'm.organization_id'),
  column('organization', 'text', 'Its name.', 'o.name'),
  column('source', 'text', 'ADMIN (an operator), PROXY or FALLBACK (the shipped table): in this order one goes before the other.', 'm.source'),
  column('service_tier', 'text', 'Service tier that it prices; NULL: the usual one.', 'm.service_tier'),
  column('effective_from', 'timestamptz', 'It holds for calls made from here on.', 'm.effective_from'),
  column('effective_to', 'timestamptz', 'It holds for calls made before; NULL: no end.', 'm.effective_to'),
  column('recorded_at', 'timestamptz', 'When it came into the book: figures as of an earlier time do not know it.', 'm.recorded_at'),
  column('above_prompt_tokens', 'integer', 'These rates hold for prompts longer than so many tokens; NULL: from the shortest on.', 'nullif(r.above_prompt_tokens, -1)'),
  column('up_to_prompt_tokens', 'integer', 'They hold for prompts of up to so many tokens; NULL: no end.', 'nullif(r.up_to_prompt_tokens, 2147483647)'),
  column('input_per_million', 'numeric', 'US dollars per million uncached prompt tokens.', perMillion('input')),
  column('cache_read_per_million', 'numeric', 'US dollars per million tokens read from the cache; like input where the record does not price them apart.', perMillion('cache_read')),
  column('cache_write_per_million', 'numeric', 'US dollars per million tokens written to the cache; like input where the record does not price them apart.', perMillion('cache_write')),
  column('cache_write_one_hour_per_million', 'numeric', 'US dollars per million tokens written to the cache for an hour; like other writes where the record does not price them apart.', perMillion('cache_write_one_hour')),
  column('output_per_million', 'numeric', 'US dollars per million completion tokens.', perMillion('output')),
  column('reasoning_per_million', 'numeric', 'US dollars per million reasoning tokens; NULL: they cost like output.', perMillion('reasoning')),
  column('per_request', 'numeric', 'US dollars per call.', 'trim_scale(r.per_request)'),
  column('changed_earlier_calls', 'boolean', 'Whether it is in force for calls that may have been settled before it: analytics.adjustments says what it changed.', 'c.book IS NOT NULL'),
  column('note', 'text', 'What whoever recorded it wrote about it.', 'm.note'),
];
const PRICES = `model_prices AS m JOIN price_rates AS r ON r.number = m.number
      LEFT JOIN price_changes AS c ON c.book = m.number
      LEFT JOIN organizations AS o ON o.id = m.organization_id`;
