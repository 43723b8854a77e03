import { ApiToken } from './api-token.entity';
import { BudgetAlertEntity } from './budget-alert.entity';
import { BudgetPeriod } from './budget-period.entity';
import { BudgetEntity } from './budget.entity';
import { CallCheckpoint } from './call-checkpoint.entity';
import { CallInFlight } from './call-in-flight.entity';
import { ConversationEntity } from './conversation.entity';
import { IdempotencyKey } from './idempotency-key.entity';
import { LlmUsage } from './llm-usage.entity';
import { MessageEntity } from './message.entity';
import { ModelPrice } from './model-price.entity';
import { Organization } from './organization.entity';
import { Owner } from './owner.entity';
import { PlanEntity } from './plan.entity';
import { PriceChangePart } from './price-change-part.entity';
import { PriceChange } from './price-change.entity';
import { PriceRate } from './price-rate.entity';
import { PriceVersion } from './price-version.entity';
import { Project } from './project.entity';
import { TokenDirectory } from './token-directory.entity';
import { UsageBatch } from './usage-batch.entity';
import {
  UsageDaily,
  UsageDailyByProject,
  UsageDailyByUser,
  UsageDailyOverall,
  UsageQuarterHourly,
} from './usage-cubes.entity';
import { UsageRetention } from './usage-retention.entity';
import { User } from './user.entity';
import { VirtualKey } from './virtual-key.entity';

/**
 * Tables with an entity. The others (installation, proxy_teams, model_lists, reconciliations) are only ever touched by
 * SQL in their stores.
 */
export const ENTITIES = [
  ApiToken,
  BudgetAlertEntity,
  BudgetEntity,
  BudgetPeriod,
  CallCheckpoint,
  CallInFlight,
  ConversationEntity,
  IdempotencyKey,
  LlmUsage,
  MessageEntity,
  ModelPrice,
  Organization,
  Owner,
  PlanEntity,
  PriceChange,
  PriceChangePart,
  PriceRate,
  PriceVersion,
  Project,
  TokenDirectory,
  UsageBatch,
  UsageDaily,
  UsageDailyByProject,
  UsageDailyByUser,
  UsageDailyOverall,
  UsageQuarterHourly,
  UsageRetention,
  User,
  VirtualKey,
];
