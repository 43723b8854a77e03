import { Field, ID, InputType } from 'type-graphql';
import type { Role } from '../../domain/principal';
import { RoleEnum } from './enums';
import { DateTime } from './scalars';

@InputType('CreateUserInput', { description: 'A new user.' })
export class CreateUserInputType {
  @Field(() => ID, { nullable: true, description: "Operators only; default: the caller's." })
  organizationId?: string | null;

  @Field(() => String, { description: 'How the user is called; at most 200 characters.' })
  name!: string;

  @Field(() => String, { nullable: true, description: 'E-mail address.' })
  email?: string | null;

  @Field(() => String, {
    nullable: true,
    description: "The subject at the identity provider: the user's JWTs are recognised by it.",
  })
  externalId?: string | null;

  @Field(() => RoleEnum, {
    defaultValue: 'MEMBER',
    description: 'What the user may do. Nobody gives a role above their own.',
  })
  role!: Role;

  @Field(() => ID, { description: "The user's plan." })
  planId!: string;
}

@InputType('ApiTokenInput', { description: 'A new API token.' })
export class ApiTokenInputType {
  @Field(() => ID, {
    nullable: true,
    description: 'Whose token it is; default: the caller. Others: administrators only.',
  })
  userId?: string | null;

  @Field(() => String, { description: 'What it is for; at most 200 characters.' })
  name!: string;

  @Field(() => DateTime, { nullable: true, description: 'When it ends; left out: it does not.' })
  expiresAt?: Date | null;
}
