package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;

/** Token ids that other programs wrote: "input_ids", int64 or int32 [batch, length], in a safetensors file. */
public final class InputIds {

    private static final String NAME = "input_ids";
    private static final ValueLayout.OfLong INT64 = ValueLayout.JAVA_LONG_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private InputIds() {}

    /** Throws UserError BAD_TEXT when the tensor is missing or of another kind, BAD_TOKENIZER for ids out of range. */
    public static TokenSequences read(Path file, int vocabSize) {
        try (SafetensorsFile opened = SafetensorsFile.open(file)) {
            TensorView view = opened.tensors().get(NAME);
            if (view == null) {
                throw TextFiles.badText(file + ": expected a tensor \"" + NAME + "\", found "
                        + String.join(", ", opened.tensors().keySet()));
            }
            boolean wide = view.dtype() == DType.I64;
            if ((!wide && view.dtype() != DType.I32) || view.shape().rank() != 2 || view.shape().elements() == 0
                    || view.shape().elements() > Integer.MAX_VALUE) {
                throw TextFiles
                        .badText(file + ": expected " + NAME + " I64 [batch, length], found " + view.dtype() + " "
                                + view.shape());
            }
            int[] ids = new int[(int) view.shape().elements()];
            for (int i = 0; i < ids.length; i++) {
                long id = wide ? view.data().getAtIndex(INT64, i) : view.data().getAtIndex(INT32, i);
                ids[i] = checked(id, vocabSize, file);
            }
            return new TokenSequences(ids, (int) view.shape().dimension(0), (int) view.shape().dimension(1));
        }
    }

    private static int checked(long id, int vocabSize, Path file) {
        if (id < 0 || id >= vocabSize) {
            throw new UserError(UserError.Code.BAD_TOKENIZER, file + ": token id " + id
                    + " is outside the model's vocabulary of " + vocabSize + "; the ids are for another model");
        }
        return (int) id;
    }
}
