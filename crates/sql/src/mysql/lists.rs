//! What is known to be harmless: functions, settings, and what the server says of itself.

use sqlparser::ast::ObjectName;

use super::Step;
use super::seen::word;
use crate::verdict::Refused;

/// What the server says of itself may be read, without what it knows of values.
pub(super) fn is_information(relation: &ObjectName) -> Step<bool> {
    let parts: Vec<String> = relation.0.iter().filter_map(|part| part.as_ident()).map(word).collect();
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["information_schema", table] if INFORMATION.split_ascii_whitespace().any(|known| known == *table) => Ok(true),
        ["information_schema", _] => Err(Refused::not_in_role(
            "this part of `information_schema` is not about names and types alone",
            "read its `tables`, `columns` and the like",
        )),
        _ => Ok(false),
    }
}

/// What of `information_schema` speaks of names, types and the session itself.
const INFORMATION: &str = "all_plugins applicable_roles character_sets check_constraints  collation_character_set_applicability collations columns \
column_privileges enabled_roles engines events global_status global_variables key_column_usage keywords parameters partitions plugins processlist \
referential_constraints routines schema_privileges schemata session_status session_variables sql_functions statistics system_variables tables tablespaces \
table_constraints table_privileges triggers user_privileges views";

/// Functions that read only their arguments.
pub(super) const FUNCTIONS: &str = "abs acos adddate addtime ascii asin atan atan2 avg bin bit_and bit_count bit_length bit_or bit_xor cast ceil ceiling char char_length \
character_length charset coalesce coercibility collation concat concat_ws connection_id conv convert convert_tz cos cot count crc32 cume_dist curdate current_date \
current_role current_time current_timestamp current_user curtime database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear degrees \
dense_rank elt exp export_set extract field find_in_set first_value floor format found_rows from_base64 from_days from_unixtime greatest group_concat hex hour if ifnull inet6_aton \
inet6_ntoa inet_aton inet_ntoa insert instr is_ipv4 is_ipv6 json_array json_arrayagg json_contains json_contains_path json_depth json_exists json_extract json_insert json_keys \
json_length json_merge json_merge_patch json_merge_preserve json_object json_objectagg json_pretty json_query json_quote json_remove json_replace json_search json_set json_type \
json_unquote json_valid json_value lag last_day last_insert_id last_value lcase lead least left length ln localtime localtimestamp locate log log10 log2 lower lpad ltrim \
makedate maketime max md5 microsecond mid min minute mod month monthname now nth_value ntile nullif oct octet_length ord percent_rank period_add period_diff pi position pow power \
quarter quote radians rand rank regexp_instr regexp_replace regexp_substr repeat replace reverse right round row_count row_number rpad rtrim schema sec_to_time second session_user sha \
sha1 sha2 sign sin sleep soundex space sqrt std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index subtime sum sysdate system_user tan time \
time_format time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase unhex unix_timestamp upper user utc_date utc_time \
utc_timestamp uuid uuid_short value values var_pop var_samp variance version week weekday weekofyear weight_string year yearweek";

/// Settings that change how something looks or how long it may take, and not what is meant.
pub(super) const SETTINGS: &str = "autocommit time_zone wait_timeout interactive_timeout net_read_timeout net_write_timeout sql_safe_updates sql_auto_is_null tx_isolation transaction_isolation \
tx_read_only transaction_read_only group_concat_max_len lock_wait_timeout innodb_lock_wait_timeout lc_time_names timestamp sql_select_limit profiling";
