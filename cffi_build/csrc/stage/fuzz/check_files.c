// check_files.c: verify the blobs in the files named; for the sanitizers and for a corpus.
//
//   check_files FILE...     prints one line a file: "0 0" or "<enum nsj_bad> <step>"
#include "../verify.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file || fseek(file, 0, SEEK_END)) {
            perror(argv[i]);
            return 2;
        }
        size_t size = (size_t)ftell(file);
        rewind(file);
        void *blob = malloc(size ? size : 1); // exactly as long: the sanitizer sees a read past the end
        if (!blob || fread(blob, 1, size, file) != size) {
            perror(argv[i]);
            return 2;
        }
        fclose(file);
        struct nsj_flow flow = {.begun = false};
        struct nsj_verdict verdict;
        nsj_verify(blob, size, &flow, &verdict);
        printf("%u %u\n", verdict.bad, verdict.step);
        free(blob);
    }
    return 0;
}
