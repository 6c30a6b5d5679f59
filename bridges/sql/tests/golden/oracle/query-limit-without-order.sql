SELECT "id", "cuisine", "country", "rating", "prepTime", "views", "status", "createdAt", "born", "price", "active", "lat", "lng", "spot" FROM "shop"."facts" OFFSET :1 ROWS FETCH NEXT :2 ROWS ONLY
-- 1: Integer(0) beside None
-- 2: Integer(5) beside None
