-- Gives an id as the application makes them: the prefix, ten characters of time (milliseconds, in base 32), sixteen
-- random ones. Takes no locks.
CREATE OR REPLACE FUNCTION weir.new_id(prefix text) RETURNS text
  LANGUAGE sql VOLATILE AS $$
  SELECT prefix || '_' || string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + digit, 1), '' ORDER BY place)
  FROM (
    SELECT place, (((extract(epoch FROM weir.now()) * 1000)::bigint >> (5 * (10 - place))) & 31)::int AS digit
    FROM generate_series(1, 10) AS place
    UNION ALL
    SELECT place + 11, get_byte(random, place) & 31
    FROM (SELECT uuid_send(gen_random_uuid()) AS random) AS r, generate_series(0, 15) AS place
  ) AS digits
$$;
