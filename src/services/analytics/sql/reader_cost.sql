-- What a call costs by the price book of now, for analytics.calls. With its owner's rights, since parts of price
-- changes name several organisations; and only for rows that the reader may see.
CREATE OR REPLACE FUNCTION weir.reader_cost(u weir.priced_call) RETURNS weir.cost_parts
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF weir.reader() = '*' OR u.organization_id = weir.reader() THEN RETURN weir.cost_as_of(u, NULL); END IF;
  RETURN NULL;
END $$;
