/* A floor with no source yet has this. */
typedef int dl_empty_translation_unit;
