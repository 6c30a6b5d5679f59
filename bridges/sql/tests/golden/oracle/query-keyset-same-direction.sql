SELECT t."id", t."cuisine", t."country", t."rating", t."prepTime", t."views", t."status", t."createdAt", t."born", t."price", t."active", t."lat", t."lng", t."spot" FROM "shop"."facts" t WHERE t."createdAt" <= :1 AND ((t."createdAt" < :2) OR (t."createdAt" = :3 AND t."id" < :4)) ORDER BY t."createdAt" DESC, t."id" DESC OFFSET :5 ROWS FETCH NEXT :6 ROWS ONLY
-- 1: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 2: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 3: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 4: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 5: Integer(0) beside None
-- 6: Integer(11) beside None
-- a page of 10; cursor from columns [7, 0], of which 0 hidden
