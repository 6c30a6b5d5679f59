SELECT t.`id`, (1 - VEC_DISTANCE_COSINE(t.`at`, ?)) AS _score FROM `places` t WHERE (VEC_DISTANCE_COSINE(t.`at`, ?) < 1.7976931348623157e308) AND (t.`name` = ?) ORDER BY _score DESC, t.`id` LIMIT ?
