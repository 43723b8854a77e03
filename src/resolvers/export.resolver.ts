import { Arg, Ctx, Mutation, Resolver } from 'type-graphql';
import { AppError } from '../errors';
import type { RequestContext } from './context';
import { UsageExportType } from './types/export.type';
import { DateTime } from './types/scalars';
import { UsageFilterInputType } from './types/usage.input';
import { checkRange } from './validate';

@Resolver()
export class ExportResolver {
  @Mutation(() => UsageExportType, {
    description:
      'A CSV file of calls that have ended, one line each, oldest first, by a link of limited life. Members export their own calls, analysts and administrators those of the organisation, operators all; the filter narrows it.',
  })
  async exportUsage(
    @Arg('filter', () => UsageFilterInputType, {
      nullable: true,
      description: 'Which calls; left out: all that the caller may see.',
    })
    filter: UsageFilterInputType | null,
    @Arg('pricesAsOf', () => DateTime, {
      nullable: true,
      description: 'Calls and costs as they stood at this time; the future is refused. Default: now.',
    })
    pricesAsOf: Date | null,
    @Ctx() context: RequestContext,
  ): Promise<UsageExportType> {
    checkRange('filter', filter ?? {});
    // Mutations come by HTTP.
    const base = context.baseUrl?.() ?? null;
    if (base === null)
      throw new AppError('BAD_USER_INPUT', {
        public: 'The Host header of the request is no host name: a link cannot be made from it.',
      });
    const { path, expiresAt } = await context.services.exports.link(context.viewer, filter ?? {}, pricesAsOf ?? null);
    return { url: base + path, expiresAt };
  }
}
