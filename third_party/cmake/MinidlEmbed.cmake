# Files as bytes of a library or program: the assembler copies them (.incbin), so that no compiler reads megabytes of numbers.

# minidl_embed(TARGET SYMBOL FILE): the bytes lie between SYMBOL_begin and SYMBOL_end, const std::byte[] with C linkage, aligned to 64 bytes
# and unseen outside the library. The object is made anew when FILE changes.
function(minidl_embed target symbol file)
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "There is no file ${file} to embed")
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.cpp)
  configure_file(${PROJECT_SOURCE_DIR}/third_party/cmake/embedded.cpp.in ${source} @ONLY)
  target_sources(${target} PRIVATE ${source})
  set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES OBJECT_DEPENDS ${file})
endfunction()

# minidl_builtin(NAME network|style TITLE text ATTRIBUTION text LICENCE text): NAME.safetensors of this folder will be in builtin_models(). The
# texts may not contain )text".
function(minidl_builtin name kind)
  cmake_parse_arguments(PARSE_ARGV 2 model "" "TITLE;ATTRIBUTION;LICENCE" "")
  if(NOT kind MATCHES "^(network|style)$" OR NOT model_TITLE OR NOT model_ATTRIBUTION OR NOT model_LICENCE OR model_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "minidl_builtin(${name} ...) needs: network or style, TITLE, ATTRIBUTION, LICENCE")
  endif()
  string(MAKE_C_IDENTIFIER minidl_builtin_${name} symbol)
  minidl_embed(minidl_style_objects ${symbol} ${CMAKE_CURRENT_SOURCE_DIR}/${name}.safetensors)
  set_property(GLOBAL APPEND_STRING PROPERTY MINIDL_BUILTIN_SYMBOLS "extern const std::byte ${symbol}_begin[], ${symbol}_end[];\n")
  string(CONCAT entry "      {R\"text(${name})text\", BuiltinModel::Kind::${kind}, R\"text(${model_TITLE})text\",\n"
                      "       R\"text(${model_ATTRIBUTION})text\",\n"
                      "       R\"text(${model_LICENCE})text\", {${symbol}_begin, ${symbol}_end}},\n")
  set_property(GLOBAL APPEND_STRING PROPERTY MINIDL_BUILTIN_ENTRIES "${entry}")
endfunction()

# After the last of them: writes the table.
function(minidl_builtin_table)
  get_property(symbols GLOBAL PROPERTY MINIDL_BUILTIN_SYMBOLS)
  get_property(entries GLOBAL PROPERTY MINIDL_BUILTIN_ENTRIES)
  configure_file(${PROJECT_SOURCE_DIR}/third_party/cmake/builtin_table.cpp.in ${CMAKE_CURRENT_BINARY_DIR}/builtin_table.cpp @ONLY)
  target_sources(minidl_style_objects PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/builtin_table.cpp)
endfunction()
