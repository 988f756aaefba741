"""What else Bloblang has, by name: so that a mapping that needs it is told apart from one with a mistake in it."""

from __future__ import annotations

from typing import Final

ELSEWHERE_FUNCTIONS: Final = frozenset(
    """
    batch_index batch_size bloblang cache_add cache_delete cache_get cache_set cosine_similarity count env error_source_label
    error_source_name error_source_path error_source_type file file_rel file_rel_json flow_id fs_exists fs_stat hostname ksuid nanoid
    pi random_string range root_meta snowflake_id tracing_id tracing_span ulid uuid_v7 var
    """.split()  # noqa: SIM905  # a list of words is read as words
)
ELSEWHERE_METHODS: Final = frozenset(
    """
    all any apply array assign bitwise_and bitwise_or bitwise_xor bloblang bytes collapse compare_argon2 compare_bcrypt compress concat cos
    crc32 decode decompress decrypt_aes diff encode encrypt_aes enumerated escape_html escape_url_path escape_url_query explode
    filepath_join filepath_split find find_all find_all_by find_by find_indexes_by flatten float32 fold format format_json_schema
    format_msgpack format_timestamp format_timestamp_strftime format_timestamp_unix format_xml format_yaml from from_all geoip_city
    geoip_country get group_by hash hash_sha256 index_of infer_schema int16 int32 int8 json_path json_schema key_values log log10 map
    map_each_key max merge min not parse_big_decimal parse_csv parse_duration parse_duration_iso8601 parse_form_url_encoded parse_jwt_hs256
    parse_jwt_hs384 parse_jwt_hs512 parse_jwt_rs256 parse_jwt_rs384 parse_jwt_rs512 parse_logfmt parse_msgpack parse_parquet
    parse_timestamp parse_timestamp_strptime parse_timestamp_unix parse_url parse_xml parse_yaml patch pow quote re_find_all
    re_find_all_object re_find_all_submatch re_find_object re_match re_replace re_replace_all repeat replace replace_all_many replace_many
    set sign_jwt_hs256 sign_jwt_hs384 sign_jwt_hs512 sign_jwt_rs256 sign_jwt_rs384 sign_jwt_rs512 sin slug sort_by split_by squash
    strip_html tan timestamp ts_add ts_add_iso8601 ts_format ts_parse ts_round ts_strftime ts_strptime ts_sub ts_sub_iso8601 ts_tz ts_unix
    ts_unix_micro ts_unix_milli ts_unix_nano uint16 uint32 uint64 uint8 unescape_html unescape_url_path unescape_url_query unique unquote
    uuid_v5 vector with zip
    """.split()  # noqa: SIM905  # a list of words is read as words
)
