-- The role whose members read; its name is this installation's, since roles belong to the whole server.
CREATE OR REPLACE FUNCTION weir.reader_group() RETURNS text LANGUAGE sql STABLE
  RETURN (SELECT 'weir_readers_' || i.id FROM public.installation AS i);
