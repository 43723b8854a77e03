import { Field, ObjectType } from 'type-graphql';
import { ComponentStateEnum, UpstreamEnum } from './enums';
import { DateTime } from './scalars';
import type { Upstream } from '../../domain/call';
import type { ComponentState } from '../../domain/status';

@ObjectType('ComponentStatus', { simpleResolvers: true, description: 'How a part of the service is.' })
export class ComponentStatusType {
  @Field(() => ComponentStateEnum, { description: 'Whether it works.' })
  state!: ComponentState;

  @Field(() => DateTime, { description: 'Since when it is so.' })
  since!: Date;

  @Field(() => String, { nullable: true, description: 'What is wrong, where something is.' })
  detail!: string | null;
}

@ObjectType('ServiceStatus', { simpleResolvers: true, description: 'How the service is.' })
export class ServiceStatusType {
  @Field(() => String, { description: 'Version of the server.' })
  version!: string;

  @Field(() => UpstreamEnum, { description: 'What models are reached through.' })
  upstream!: Upstream;

  @Field(() => ComponentStatusType, { description: 'The database.' })
  database!: ComponentStatusType;

  @Field(() => ComponentStatusType, { description: 'The proxy; OFF where models are reached directly.' })
  proxy!: ComponentStatusType;

  @Field(() => ComponentStatusType, {
    nullable: true,
    description: 'How far the cubes that reports read are behind. Reports stay exact, and are slower.',
  })
  cubes!: ComponentStatusType;

  @Field(() => ComponentStatusType, {
    nullable: true,
    description:
      'The log by which any replica serves any stream; OFF without one. While it is not UP, streams go on at the replica that runs them.',
  })
  streamLog!: ComponentStatusType;
}
