import { Arg, Ctx, FieldResolver, ID, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import { underField } from '../errors';
import type { RequestContext } from './context';
import type { Role, UserRow } from '../domain/principal';
import { apiTokensOf, organizationOf, planOf, virtualKeyOf } from './loaders';
import { mustExist } from './map';
import { RoleEnum } from './types/enums';
import { toConnection, type ConnectionOf } from './types/node.type';
import { ApiTokenInputType, CreateUserInputType } from './types/people.input';
import {
  ApiTokenType,
  CreatedApiTokenType,
  DeletePayloadType,
  OrganizationType,
  ProjectConnection,
  ProjectType,
  UserConnection,
  UserType,
  VirtualKeyType,
} from './types/people.type';
import { PlanType } from './types/plan.type';
import { checkName, checkOptionalName } from './validate';
import { checkPage } from '../domain/page';

const USER_ID = { description: 'The user.' };

/** Organisations, projects, users and tokens. */
@Resolver(() => UserType)
export class PeopleResolver {
  @Query(() => UserConnection, {
    description: 'The users of the organisation, for administrators; for operators those of any organisation.',
  })
  async users(
    @Arg('search', () => String, { nullable: true, description: 'Part of the name or the e-mail address.' })
    search: string | null,
    @Arg('first', () => Int, { defaultValue: 50, description: 'How many, 1 to 100.' }) first: number,
    @Arg('after', () => String, { nullable: true, description: 'Cursor of the last edge of the page before.' })
    after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<ConnectionOf<UserType>> {
    // An empty search box asks for everybody.
    const wanted = search?.trim() || null;
    checkOptionalName('search', wanted);
    return toConnection(
      await context.services.people.users(context.viewer, { ...checkPage({ first, after }), search: wanted }),
    );
  }

  @Query(() => ProjectConnection, { description: 'The projects of the organisation.' })
  async projects(
    @Arg('first', () => Int, { defaultValue: 50, description: 'How many, 1 to 100.' }) first: number,
    @Arg('after', () => String, { nullable: true, description: 'Cursor of the last edge of the page before.' })
    after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<ConnectionOf<ProjectType>> {
    return toConnection(await context.services.people.projects(context.viewer, checkPage({ first, after })));
  }

  @Mutation(() => OrganizationType, { description: 'Makes an organisation. Operators.' })
  createOrganization(
    @Arg('name', () => String, { description: 'Its name; at most 200 characters.' }) name: string,
    @Ctx() context: RequestContext,
  ): Promise<OrganizationType> {
    checkName('name', name);
    return context.services.people.createOrganization(context.viewer, name);
  }

  @Mutation(() => ProjectType, { description: "Makes a project in the caller's organisation. Administrators." })
  createProject(
    @Arg('name', () => String, { description: 'Its name; at most 200 characters.' }) name: string,
    @Ctx() context: RequestContext,
  ): Promise<ProjectType> {
    checkName('name', name);
    return context.services.people.createProject(context.viewer, name);
  }

  @Mutation(() => UserType, { description: 'Makes a user. Administrators.' })
  createUser(
    @Arg('input', () => CreateUserInputType, { description: 'The user.' }) input: CreateUserInputType,
    @Ctx() context: RequestContext,
  ): Promise<UserType> {
    checkName('input.name', input.name);
    checkOptionalName('input.email', input.email);
    checkOptionalName('input.externalId', input.externalId);
    return underField('input', context.services.people.createUser(context.viewer, input));
  }

  @Mutation(() => UserType, { description: 'Moves a user to another plan. Administrators.' })
  setUserPlan(
    @Arg('userId', () => ID, USER_ID) userId: string,
    @Arg('planId', () => ID, { description: 'The plan.' }) planId: string,
    @Ctx() context: RequestContext,
  ): Promise<UserType> {
    return context.services.people.setUserPlan(context.viewer, userId, planId);
  }

  @Mutation(() => UserType, {
    description: 'Gives a user another role. Administrators; nobody gives a role above their own.',
  })
  setUserRole(
    @Arg('userId', () => ID, USER_ID) userId: string,
    @Arg('role', () => RoleEnum, { description: 'The role.' }) role: Role,
    @Ctx() context: RequestContext,
  ): Promise<UserType> {
    return context.services.people.setUserRole(context.viewer, userId, role);
  }

  @Mutation(() => UserType, {
    description:
      'Blocks here and at the proxy: running streams end. Or ends that. It holds on every replica at most a second after the answer, two while a replica cannot hear of it. Administrators.',
  })
  setUserBlocked(
    @Arg('userId', () => ID, USER_ID) userId: string,
    @Arg('blocked', () => Boolean, { description: 'true: block; false: let in again.' }) blocked: boolean,
    @Ctx() context: RequestContext,
  ): Promise<UserType> {
    return context.services.people.setUserBlocked(context.viewer, userId, blocked);
  }

  @Mutation(() => DeletePayloadType, {
    description: 'Erases the person, keeps the figures; the key at the proxy is deleted. Administrators.',
  })
  async deleteUser(
    @Arg('id', () => ID, USER_ID) id: string,
    @Ctx() context: RequestContext,
  ): Promise<DeletePayloadType> {
    return { deletedId: await context.services.people.deleteUser(context.viewer, id) };
  }

  @Mutation(() => CreatedApiTokenType, { description: 'Makes a token. The secret is in the answer and never again.' })
  createApiToken(
    @Arg('input', () => ApiTokenInputType, { description: 'The token.' }) input: ApiTokenInputType,
    @Ctx() context: RequestContext,
  ): Promise<CreatedApiTokenType> {
    checkName('input.name', input.name);
    return underField('input', context.services.people.createApiToken(context.viewer, input));
  }

  @Mutation(() => ApiTokenType, {
    description:
      'Ends a token, and the streams that it started. It holds on every replica at most a second after the answer, two while a replica cannot hear of it.',
  })
  revokeApiToken(
    @Arg('id', () => ID, { description: 'The token.' }) id: string,
    @Ctx() context: RequestContext,
  ): Promise<ApiTokenType> {
    return context.services.people.revokeApiToken(context.viewer, id);
  }

  @FieldResolver(() => OrganizationType, { description: 'The organisation that the user belongs to.' })
  async organization(@Root() user: UserRow, @Ctx() context: RequestContext): Promise<OrganizationType> {
    return mustExist(await organizationOf(context).load(user.organizationId), 'organisation of a user');
  }

  @FieldResolver(() => PlanType, { description: "The user's plan." })
  async plan(@Root() user: UserRow, @Ctx() context: RequestContext): Promise<PlanType> {
    return mustExist(await planOf(context).load(user.planId), 'plan of a user');
  }

  @FieldResolver(() => [ApiTokenType], {
    description: "The user's tokens, newest first; empty where the caller may not see them.",
  })
  apiTokens(@Root() user: UserRow, @Ctx() context: RequestContext): Promise<ApiTokenType[]> {
    return apiTokensOf(context).load(user);
  }

  @FieldResolver(() => VirtualKeyType, {
    nullable: true,
    description: 'The key at the proxy; null before the first call.',
  })
  virtualKey(@Root() user: UserRow, @Ctx() context: RequestContext): Promise<VirtualKeyType | null> {
    return virtualKeyOf(context).load(user);
  }
}
