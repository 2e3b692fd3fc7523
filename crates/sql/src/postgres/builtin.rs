//! What comes with PostgreSQL and does no harm: functions, catalogs and settings, by name. What does not stand here is refused.

/// Functions of `pg_catalog` that read only their arguments, or what every account may read of the catalog.
///
/// Left out on purpose: whatever runs SQL it is handed (`query_to_xml`, `ts_stat`, `cursor_to_xml`), reads files or large
/// objects, speaks to other servers, changes settings or sequences' values, ends other sessions, or reads statistics about values.
const FUNCTIONS: &str = "\
abs acos acosd acosh array_agg array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position \
array_positions array_prepend array_remove array_replace array_sample array_shuffle array_to_json array_to_string array_to_tsvector array_upper \
ascii asin asind asinh atan atan2 atan2d atand atanh any_value age avg aclexplode acldefault aclitemin aclitemout \
bit_and bit_count bit_length bit_or bit_xor bool_and bool_or booland_statefunc box broadcast btrim \
cardinality casefold cbrt ceil ceiling center char char_length character_length chr circle clock_timestamp coalesce col_description concat concat_ws \
convert convert_from convert_to corr cos cosd cosh cot cotd count covar_pop covar_samp cume_dist current_catalog current_database current_date current_query \
current_role current_schema current_schemas current_setting current_time current_timestamp current_user \
date date_add date_bin date_part date_subtract date_trunc decode degrees dense_rank diameter div \
encode enum_first enum_last enum_range erf erfc every exp extract \
factorial family first_value float4 float8 floor format format_type \
gcd gen_random_uuid generate_series generate_subscripts get_bit get_byte getdatabaseencoding greatest grouping \
has_any_column_privilege has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege \
has_parameter_privilege has_schema_privilege has_sequence_privilege has_server_privilege has_table_privilege has_tablespace_privilege has_type_privilege \
hashtext height host hostmask \
inet_client_addr inet_client_port inet_merge inet_same_family inet_server_addr inet_server_port initcap int2 int4 int8 isempty isfinite \
json_agg json_array json_array_elements json_array_elements_text json_array_length json_arrayagg json_build_array json_build_object json_each json_each_text \
json_extract_path json_extract_path_text json_object json_object_agg json_object_agg_strict json_object_agg_unique json_object_keys json_objectagg \
json_populate_record json_populate_recordset json_scalar json_serialize json_strip_nulls json_to_record json_to_recordset json_typeof \
jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_concat jsonb_delete jsonb_each jsonb_each_text \
jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg jsonb_object_agg_strict jsonb_object_keys jsonb_path_exists jsonb_path_match \
jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls \
jsonb_to_record jsonb_to_recordset jsonb_typeof justify_days justify_hours justify_interval \
lag last_value lcm lead least left length line ln localtime localtimestamp log log10 lower lower_inc lower_inf lpad lseg ltrim \
macaddr8_set7bit make_date make_interval make_time make_timestamp make_timestamptz masklen max md5 min min_scale mod mode multirange \
name netmask network normalize now nth_value ntile nullif num_nonnulls num_nulls numeric numnode \
obj_description octet_length overlaps overlay oidvectortypes oid \
parse_ident path pclose percent_rank percentile_cont percentile_disc pg_backend_pid pg_char_to_encoding pg_client_encoding pg_collation_for pg_collation_is_visible \
pg_column_size pg_conf_load_time pg_conversion_is_visible pg_database_size pg_describe_object pg_encoding_max_length pg_encoding_to_char pg_event_trigger_table_rewrite_oid \
pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_function_arg_default pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result \
pg_get_function_sqlbody pg_get_functiondef pg_get_indexdef pg_get_keywords pg_get_object_address pg_get_partkeydef pg_get_partition_constraintdef pg_get_ruledef \
pg_get_serial_sequence pg_get_statisticsobjdef pg_get_statisticsobjdef_columns pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid pg_get_viewdef \
pg_has_role pg_identify_object pg_index_column_has_property pg_index_has_property pg_indexam_has_property pg_indexes_size pg_input_is_valid pg_is_in_recovery \
pg_is_other_temp_schema pg_jit_available pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible pg_options_to_table \
pg_partition_ancestors pg_partition_root pg_partition_tree pg_postmaster_start_time pg_relation_filenode pg_relation_is_publishable pg_relation_is_updatable \
pg_relation_size pg_settings_get_flags pg_size_bytes pg_size_pretty pg_show_all_settings pg_sleep pg_stat_get_numscans pg_statistics_obj_is_visible pg_table_is_visible pg_table_size pg_tablespace_location \
pg_tablespace_size pg_timezone_abbrevs pg_timezone_names pg_total_relation_size pg_trigger_depth pg_ts_config_is_visible pg_ts_dict_is_visible pg_ts_parser_is_visible \
pg_ts_template_is_visible pg_type_is_visible pg_typeof pg_advisory_unlock_all phraseto_tsquery pi plainto_tsquery point polygon popen position power \
querytree quote_ident quote_literal quote_nullable radians radius random random_normal range_agg range_intersect_agg range_merge rank regexp_count regexp_instr \
regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept \
regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right round row_number row_security_active row_to_json rpad rtrim \
scale session_user set_bit set_byte set_masklen setseed setweight sha224 sha256 sha384 sha512 shobj_description sign sin sind sinh slope split_part sqrt starts_with statement_timestamp \
stddev stddev_pop stddev_samp string_agg string_to_array string_to_table strip strpos substr substring sum \
tan tand tanh text timeofday timestamp timestamptz timezone to_ascii to_char to_date to_hex to_bin to_oct to_json to_jsonb to_number to_regclass to_regcollation to_regnamespace to_regoper \
to_regoperator to_regproc to_regprocedure to_regrole to_regtype to_timestamp to_tsquery to_tsvector transaction_timestamp translate trim trim_array trim_scale trunc \
ts_delete ts_filter ts_headline ts_lexize ts_rank ts_rank_cd tsquery_phrase tsvector_to_array txid_current txid_current_if_assigned \
pg_current_xact_id pg_current_xact_id_if_assigned unicode_assigned unicode_version icu_unicode_version unistr unnest upper upper_inc upper_inf user \
uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 var_pop var_samp variance varchar version websearch_to_tsquery width width_bucket \
xml_is_well_formed xml_is_well_formed_content xml_is_well_formed_document xmlagg xmlcomment xmlconcat xmlexists xpath xpath_exists \
int4range int8range numrange tsrange tstzrange daterange int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange isclosed isopen bpchar bool float interval time timetz bytea lastval like_escape similar_escape similar_to_escape pg_blocking_pids pg_char_to_encoding \
array_eq array_in array_out array_larger array_smaller ";

/// Tables and views of `pg_catalog` that say how the database is built, and nothing of what is in it.
const CATALOGS: &str = "\
pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_available_extension_versions pg_available_extensions pg_cast pg_class pg_collation \
pg_constraint pg_conversion pg_cursors pg_database pg_db_role_setting pg_default_acl pg_depend pg_description pg_enum pg_event_trigger pg_extension \
pg_foreign_data_wrapper pg_foreign_server pg_foreign_table pg_group pg_index pg_indexes pg_inherits pg_init_privs pg_language pg_largeobject_metadata pg_locks pg_matviews pg_namespace \
pg_opclass pg_operator pg_opfamily pg_parameter_acl pg_partitioned_table pg_policies pg_policy pg_prepared_statements pg_proc pg_publication pg_publication_namespace \
pg_publication_rel pg_publication_tables pg_range pg_rewrite pg_roles pg_rules pg_seclabel pg_seclabels pg_sequence pg_settings pg_shdepend pg_shdescription \
pg_stat_activity pg_stat_database pg_stat_all_indexes pg_stat_all_tables pg_stat_user_indexes pg_stat_user_tables pg_stat_ssl pg_stat_gssapi pg_statio_user_tables \
pg_statio_user_indexes pg_statio_all_tables pg_statistic_ext pg_tables pg_tablespace pg_timezone_abbrevs pg_timezone_names pg_transform pg_trigger pg_ts_config \
pg_ts_config_map pg_ts_dict pg_ts_parser pg_ts_template pg_type pg_user pg_views pg_sequences ";

/// Settings that change how something looks or how long it may take, and not what is meant.
const SETTINGS: &str = "\
application_name bytea_output client_min_messages datestyle default_transaction_deferrable default_transaction_isolation default_transaction_read_only \
enable_bitmapscan enable_hashagg enable_hashjoin enable_indexonlyscan enable_indexscan enable_mergejoin enable_nestloop enable_seqscan enable_sort \
extra_float_digits force_parallel_mode from_collapse_limit geqo idle_in_transaction_session_timeout intervalstyle jit join_collapse_limit lc_messages lc_monetary \
lc_numeric lc_time lock_timeout max_parallel_workers_per_gather plan_cache_mode statement_timeout timezone transaction_deferrable transaction_isolation \
transaction_read_only work_mem xmlbinary xmloption transaction\x20isolation\x20level ";

/// Settings that only a superuser, or a member of `pg_read_all_settings`, may look at.
const OWNERS_SETTINGS: &str = "\
config_file data_directory dynamic_library_path extension_destdir external_pid_file hba_file ident_file jit_provider krb_server_keyfile log_directory log_filename \
output_plugin_libraries primary_conninfo session_preload_libraries shared_preload_libraries ssl_ciphers ssl_dh_params_file ssl_ecdh_curve ssl_max_protocol_version \
ssl_min_protocol_version ssl_passphrase_command unix_socket_directories ";

fn listed(list: &str, name: &str) -> bool {
    list.split(' ').any(|item| item == name)
}

/// A set of words, looked up in one step.
struct Words(std::sync::LazyLock<std::collections::HashSet<&'static str>>);

static FUNCTION_SET: Words = Words(std::sync::LazyLock::new(|| FUNCTIONS.split(' ').filter(|word| !word.is_empty()).collect()));
static CATALOG_SET: Words = Words(std::sync::LazyLock::new(|| CATALOGS.split(' ').filter(|word| !word.is_empty()).collect()));

/// Whether a function of `pg_catalog` is known to be harmless.
pub(super) fn is_harmless(function: &str) -> bool {
    FUNCTION_SET.0.contains(function)
}

/// Whether a table or view of `pg_catalog` may be read by everybody.
pub(super) fn is_readable_catalog(name: &str) -> bool {
    CATALOG_SET.0.contains(name)
}

/// Whether a view of `information_schema` may be read by everybody.
pub(super) fn is_readable_information(name: &str) -> bool {
    !matches!(name, "user_mapping_options" | "_pg_user_mappings" | "user_mappings")
}

/// Whether a setting may be changed.
pub(super) fn is_harmless_setting(name: &str) -> bool {
    listed(SETTINGS, name)
}

/// Whether a setting says how rows are found, and with that in which order they come.
pub(super) fn is_planners_setting(name: &str) -> bool {
    name.starts_with("enable_")
        || matches!(name, "geqo" | "plan_cache_mode" | "from_collapse_limit" | "join_collapse_limit" | "force_parallel_mode")
}

/// Whether only the server's owner may look at a setting.
pub(super) fn is_owners_setting(name: &str) -> bool {
    listed(OWNERS_SETTINGS, name)
}

/// Names of fields that built-in functions give their rows.
pub(super) fn is_known_field(name: &str) -> bool {
    matches!(
        name,
        "n" | "x"
            | "key"
            | "keys"
            | "value"
            | "ordinality"
            | "grantor"
            | "grantee"
            | "privilege_type"
            | "is_grantable"
            | "option_name"
            | "option_value"
            | "result"
            | "i"
            | "relid"
            | "parentrelid"
            | "isleaf"
            | "level"
            | "name"
            | "word"
            | "catcode"
            | "barelabel"
            | "catdesc"
            | "baredesc"
            | "type"
            | "f1"
            | "f2"
            | "f3"
            | "abbrev"
            | "utc_offset"
            | "is_dst"
            | "positions"
            | "lexeme"
            | "weights"
    )
}
