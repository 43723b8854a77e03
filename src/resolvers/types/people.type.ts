import { Field, ID, ObjectType } from 'type-graphql';
import type { Role } from '../../domain/principal';
import { RoleEnum } from './enums';
import { connectionOf, NodeInterface } from './node.type';
import { DateTime } from './scalars';

@ObjectType('Viewer', { simpleResolvers: true, description: 'The caller.' })
export class ViewerType {
  @Field(() => RoleEnum, { description: 'What the caller may do.' })
  role!: Role;
}

@ObjectType('Organization', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'A tenant: organisations never see each other.',
})
export class OrganizationType extends NodeInterface {
  @Field(() => String, { description: 'Its name.' })
  name!: string;
}

@ObjectType('Project', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'What calls can be booked on, within one organisation.',
})
export class ProjectType extends NodeInterface {
  @Field(() => String, { description: 'Its name.' })
  name!: string;
}

@ObjectType('User', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'A person, or a program that has an account.',
})
export class UserType extends NodeInterface {
  @Field(() => String, { description: 'How the user is called.' })
  name!: string;

  @Field(() => String, { nullable: true, description: 'E-mail address, where one is known.' })
  email!: string | null;

  @Field(() => String, { nullable: true, description: 'The subject at the identity provider.' })
  externalId!: string | null;

  @Field(() => RoleEnum, { description: 'What the user may do.' })
  role!: Role;

  @Field(() => Boolean, { description: 'Blocked here and at the proxy: every credential of the user is refused.' })
  blocked!: boolean;

  @Field(() => DateTime, { description: 'When the account was made.' })
  createdAt!: Date;
}

@ObjectType('VirtualKey', {
  simpleResolvers: true,
  description: "The user's key at the proxy; its secret never leaves the server.",
})
export class VirtualKeyType {
  @Field(() => String, { description: 'Last four characters.' })
  hint!: string;

  @Field(() => DateTime, { description: 'When it was made: on the first call.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When its secret was last replaced; null: never.' })
  rotatedAt!: Date | null;

  @Field(() => Boolean, { description: 'The proxy refuses it.' })
  blocked!: boolean;
}

@ObjectType('ApiToken', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'A credential of a user for this API; its secret is shown once, when it is made.',
})
export class ApiTokenType extends NodeInterface {
  @Field(() => String, { description: 'What it is for.' })
  name!: string;

  @Field(() => String, { description: 'Last four characters of the secret.' })
  hint!: string;

  @Field(() => DateTime, { description: 'When it was made.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it was last used, to about a minute; null: never.' })
  lastUsedAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it ends; null: it does not.' })
  expiresAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it was revoked; null: it is not.' })
  revokedAt!: Date | null;
}

@ObjectType('CreatedApiToken', { simpleResolvers: true, description: 'A new token with its secret.' })
export class CreatedApiTokenType {
  @Field(() => ApiTokenType, { description: 'The token.' })
  token!: ApiTokenType;

  @Field(() => String, { description: 'To be sent as `Authorization: Bearer …`. Shown here and never again.' })
  secret!: string;
}

@ObjectType('DeletePayload', { simpleResolvers: true, description: 'What was deleted.' })
export class DeletePayloadType {
  @Field(() => ID, { description: 'Id of the object that is gone.' })
  deletedId!: string;
}

export const UserConnection = connectionOf('User', () => UserType, 'users');
export const ProjectConnection = connectionOf('Project', () => ProjectType, 'projects');
