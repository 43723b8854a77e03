-- A histogram of milliseconds in one number: 64 buckets of 12 decimal digits, the first bucket being the lowest digits.
-- Histograms are merged by adding them. The bounds are the milliseconds at which the buckets 1 to 63 begin:
-- 10 * 2^(i/4), rounded up.
CREATE OR REPLACE FUNCTION weir.histogram(ms integer) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT ('1e' || (12 * width_bucket(ms, ARRAY[
    10, 12, 15, 17, 20, 24, 29, 34, 40, 48, 57, 68, 80, 96, 114, 135, 160, 191, 227, 270, 320, 381, 453, 539, 640, 762,
    906, 1077, 1280, 1523, 1811, 2153, 2560, 3045, 3621, 4306, 5120, 6089, 7241, 8611, 10240, 12178, 14482, 17222,
    20480, 24355, 28964, 34444, 40960, 48710, 57927, 68887, 81920, 97420, 115853, 137773, 163840, 194840, 231705,
    275545, 327680, 389680, 463410]))::text)::numeric
$$;
