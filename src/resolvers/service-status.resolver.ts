import { Ctx, Query, Resolver } from 'type-graphql';
import type { RequestContext } from './context';
import { ServiceStatusType } from './types/status.type';

@Resolver()
export class ServiceStatusResolver {
  @Query(() => ServiceStatusType, { description: 'How the service is.' })
  service(@Ctx() context: RequestContext): Promise<ServiceStatusType> {
    return context.services.status.status();
  }
}
