import { registerEnumType } from 'type-graphql';

/**
 * An enum whose values are their own names, inside and outside: services know plain strings, and a subscription's raw
 * arguments need no conversion.
 * `values` gives each value its description.
 */
function graphEnum<const V extends Record<string, string>>(
  name: string,
  description: string,
  values: V,
): { [K in keyof V]: K } {
  const names = Object.fromEntries(Object.keys(values).map((value) => [value, value])) as { [K in keyof V]: K };
  registerEnumType(names, {
    name,
    description,
    valuesConfig: Object.fromEntries(
      Object.entries(values).map(([value, text]) => [value, { description: text }]),
    ) as never,
  });
  return names;
}

export const RoleEnum = graphEnum('Role', 'What a user may do. Each role includes those before it.', {
  MEMBER: 'Chats and sees its own figures.',
  ANALYST: "Reads the organisation's figures.",
  ADMIN: 'Runs one organisation: users, projects, tokens.',
  OPERATOR: 'Runs the installation: plans, general prices, organisations.',
});

export const ModelSourceEnum = graphEnum('ModelSource', 'Where a list of models comes from.', {
  PROXY: 'The proxy answered lately.',
  LAST_KNOWN: 'The last good answer, kept in the database: the proxy could not be asked lately.',
  SAFE_MODE: 'The list of the configuration: the proxy has never answered.',
  DIRECT: 'The provider itself; there is no proxy.',
});

export const ModelModeEnum = graphEnum('ModelMode', 'What a model is for.', {
  CHAT: 'Chat completions: these can be used here.',
  EMBEDDING: 'Embeddings.',
  COMPLETION: 'Text completions of the old form.',
  IMAGE: 'Makes images.',
  AUDIO: 'Hears or speaks.',
  OTHER: 'Anything else.',
});

export const ModelCapabilityEnum = graphEnum('ModelCapability', 'What a model can do beyond text, as the proxy says.', {
  TOOLS: 'Calls tools.',
  VISION: 'Reads images.',
  REASONING: 'Reasons before it answers.',
  STRUCTURED_OUTPUT: 'Keeps to a JSON Schema.',
  PROMPT_CACHE: 'Its provider caches prompts.',
  WEB_SEARCH: 'Searches the web.',
  STREAMING: 'Streams its answer.',
});

export const ModelUnavailableReasonEnum = graphEnum(
  'ModelUnavailableReason',
  'Why the caller cannot use a model now.',
  {
    NOT_ON_PLAN: "The caller's plan does not name it; `availableOnPlans` says which plans do.",
    UNHEALTHY: 'No deployment of it is healthy.',
    UNPRICED_UNDER_BUDGET: 'It has no price and a budget applies: unknown is not free.',
    GONE: 'The proxy no longer serves it.',
  },
);

export const ScenarioEnum = graphEnum('Scenario', 'What a call is for: a label, kept on its usage row.', {
  DEFAULT: 'Nothing in particular.',
  BACKGROUND: 'Work that nobody waits for.',
  THINK: 'Needs reasoning.',
  LONG_CONTEXT: 'A long prompt.',
  REVIEW: "Judges another call's work.",
  PLAN: 'Plans other calls.',
});

export const ReasoningEffortEnum = graphEnum('ReasoningEffort', 'How long a reasoning model may think.', {
  NONE: 'Not at all.',
  MINIMAL: 'As little as the model can.',
  LOW: 'A little.',
  MEDIUM: "The providers' usual amount.",
  HIGH: 'Much.',
});

export const ToolChoiceEnum = graphEnum('ToolChoice', 'Whether the model has to call a tool.', {
  AUTO: 'As it likes.',
  NONE: 'It may not.',
  REQUIRED: 'It must call one.',
  TOOL: 'It must call the one that `toolName` names.',
});

export const ResponseFormatTypeEnum = graphEnum('ResponseFormatType', 'The form of the answer.', {
  TEXT: 'Plain text.',
  JSON_OBJECT: 'Some JSON object.',
  JSON_SCHEMA: 'JSON that keeps to the given schema.',
});

export const ImageDetailEnum = graphEnum(
  'ImageDetail',
  'How closely a model looks at an image; more detail costs more tokens.',
  {
    AUTO: 'As the model likes.',
    LOW: 'A small version.',
    HIGH: 'Every detail.',
  },
);

export const MessageRoleEnum = graphEnum('MessageRole', 'Who says a message.', {
  SYSTEM: 'The product: instructions to the model.',
  USER: 'The person.',
  ASSISTANT: 'The model.',
  TOOL: 'The result of a tool call.',
});

export const FinishReasonEnum = graphEnum('FinishReason', 'Why an answer ended.', {
  STOP: 'The model was done, or wrote a stop sequence.',
  LENGTH: 'It reached `maxTokens` or the end of the context.',
  TOOL_CALLS: 'It wants tools to be called.',
  CONTENT_FILTER: "The provider's filter cut it.",
  STOPPED: 'It was stopped by somebody, or its viewer left.',
  BUDGET: 'The provider produced far more than `maxTokens`, which is what was held at the budgets: it was cut.',
  OTHER: 'The provider gave another reason, or none.',
});

export const UsageSourceEnum = graphEnum('UsageSource', 'Where token counts come from.', {
  PROVIDER: 'The provider reported them.',
  ESTIMATED: 'Counted here: the provider did not report them, as when a stream is cut.',
  RECONCILED: "Corrected later from the proxy's spend record.",
  CACHE: "The proxy's response cache answered: nothing was used, nothing was charged.",
  NONE: 'None are known: the call runs, or nothing was produced.',
});

export const UpstreamEnum = graphEnum('Upstream', 'What models are reached through.', {
  LITELLM: 'A LiteLLM proxy.',
  DIRECT: 'A provider itself.',
});

export const RefusalCodeEnum = graphEnum('RefusalCode', 'Which expected refusal it is.', {
  MODEL_NOT_ALLOWED: 'The plan does not name the model, or there is no such model.',
  MODEL_UNPRICED: 'A budget applies and the model has no price.',
  MODEL_UNAVAILABLE: 'Nothing can serve the model now.',
  BUDGET_EXCEEDED: 'The worst case of the call does not fit a budget.',
  RATE_LIMITED: 'Too many requests, tokens or parallel calls.',
  CONTEXT_TOO_LONG: "The messages are longer than the model's context.",
  CONTENT_BLOCKED: "The provider's filter refused the messages.",
  UPSTREAM_FAILED: 'The provider or the proxy failed.',
  UPSTREAM_TIMEOUT: 'The provider or the proxy did not answer in time.',
  STREAM_INTERRUPTED: 'The answer broke off in the middle.',
  IDEMPOTENCY_CONFLICT: 'The idempotency key was used with other input.',
});

export const LimitOriginEnum = graphEnum('LimitOrigin', 'Whose limit was reached.', {
  PLAN: "The caller's plan.",
  PROXY: 'The proxy.',
  PROVIDER: "The model's provider.",
});

export const LimitDimensionEnum = graphEnum('LimitDimension', 'What there was too much of.', {
  REQUESTS: 'Requests per minute.',
  TOKENS: 'Tokens per minute.',
  PARALLEL_CALLS: 'Calls at the same time.',
  UNKNOWN: 'The upstream does not say.',
});

export const StopReasonEnum = graphEnum('StopReason', 'Why a stream was stopped before its end.', {
  CLIENT: 'Its owner stopped it.',
  ADMINISTRATOR: 'An administrator stopped it, or ended the access of its owner.',
  DISCONNECT: 'Its viewer left.',
  DEADLINE: 'It ran too long.',
  BUDGET: 'The provider produced far more than `maxTokens`, which is what was held at the budgets: it was cut.',
  DEPLOY: 'The server shut down.',
  AUTHORIZATION: 'The credential of its owner ended.',
});

export const UsageDimensionEnum = graphEnum('UsageDimension', 'What usage can be grouped by.', {
  ORGANIZATION: 'Organisation; operators only.',
  USER: 'User.',
  PROJECT: 'Project.',
  MODEL: 'The model that was asked for; after a fallback another one may have answered.',
  PROVIDER: 'Its provider.',
  SCENARIO: 'Scenario.',
  AGENT: "The calling agent's label.",
  UPSTREAM: 'Proxy or direct.',
  STATUS: 'How the call ended.',
});

export const UsageIntervalEnum = graphEnum(
  'UsageInterval',
  'Length of one step of a time series, in the time zone of the question.',
  {
    HOUR: 'Hours.',
    DAY: 'Calendar days.',
    WEEK: 'Weeks from Monday.',
    MONTH: 'Calendar months.',
  },
);

export const UsageOrderEnum = graphEnum('UsageOrder', 'Which groups come first.', {
  COST_DESC: 'The most expensive.',
  CALLS_DESC: 'Those with the most calls.',
  TOKENS_DESC: 'Those with the most tokens.',
});

export const BudgetScopeEnum = graphEnum('BudgetScope', 'Whose spending a budget limits.', {
  ORGANIZATION: 'Of an organisation: all its calls.',
  PROJECT: 'Of a project: the calls that are booked on it.',
  USER: 'Of a user.',
  API_TOKEN: 'Of an API token: the calls that were made with it.',
});

export const BudgetPeriodEnum = graphEnum('BudgetPeriod', "How long a budget's amount is for, in its time zone.", {
  DAY: 'A calendar day.',
  WEEK: 'A week from Monday.',
  MONTH: 'A calendar month.',
});

export const CallStatusEnum = graphEnum('CallStatus', 'Where a call stands.', {
  RUNNING: 'It runs now.',
  COMPLETED: 'It came to its end.',
  STOPPED: 'It was stopped; what was produced is counted.',
  FAILED: 'It failed; what was produced is counted.',
  LOST: 'The server that ran it went away.',
});

export const PriceSourceEnum = graphEnum('PriceSource', 'Who says what a model costs.', {
  ADMIN: 'An operator entered it.',
  PROXY: 'The proxy.',
  FALLBACK: 'The table that comes with the product.',
});

export const ComponentStateEnum = graphEnum('ComponentState', 'How a part of the service is.', {
  UP: 'It works.',
  DEGRADED: 'It works in part.',
  DOWN: 'It does not work.',
  OFF: 'It is not used here.',
});

export const DifferenceKindEnum = graphEnum('DifferenceKind', "How our figures of a call and the proxy's differ.", {
  MISSING_HERE: 'The proxy has a record that belongs to no call of ours.',
  MISSING_AT_PROXY: 'The proxy has no record of the call.',
  TOKENS_DIFFER: 'The tokens differ, and the cost with them.',
  COST_DIFFERS: 'The tokens agree, and the cost differs.',
});

export const DisconnectPolicyEnum = graphEnum(
  'DisconnectPolicy',
  'What it means for a stream when its last viewer is gone, by unsubscribing or by a lost connection alike. `stopStream` always stops.',
  {
    GRACE: 'Goes on for 30 seconds (STREAM_GRACE_MS), and on if somebody comes back by then.',
    CONTINUE: 'Goes on to its end.',
    CANCEL: 'Stops at once.',
  },
);
