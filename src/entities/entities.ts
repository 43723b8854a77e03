import { ApiToken } from './api-token.entity';
import { ConversationEntity } from './conversation.entity';
import { LlmUsage } from './llm-usage.entity';
import { MessageEntity } from './message.entity';
import { ModelPrice } from './model-price.entity';
import { Organization } from './organization.entity';
import { PlanEntity } from './plan.entity';
import { Project } from './project.entity';
import { User } from './user.entity';
import { VirtualKey } from './virtual-key.entity';

/** Tables with an entity. The others (proxy_teams, calls_in_flight, …) are only ever touched by SQL in their stores. */
export const ENTITIES = [ApiToken, ConversationEntity, LlmUsage, MessageEntity, ModelPrice, Organization, PlanEntity, Project, User, VirtualKey];
