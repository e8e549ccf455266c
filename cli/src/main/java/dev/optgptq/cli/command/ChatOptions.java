package dev.optgptq.cli.command;

import dev.optgptq.cli.generate.Chat;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Whether and how to chat. */
final class ChatOptions {

    @Option(names = "--chat", description = "Answer through the model's chat template. Without --prompt or --prompts, "
            + "a conversation: each line of input is a turn, /quit ends it.")
    private boolean chat;

    @Option(names = "--system", paramLabel = "TEXT", description = "A system message before messages without one.")
    private @Nullable String system;

    @Option(names = "--context", paramLabel = "N", description = "Tokens of a conversation, for which the cache has room; "
            + "the oldest turns are dropped when it is full. Default: 8192, or the model's maximum if shorter")
    private @Nullable Integer context;

    /**
     * Null without --chat. UserError BAD_SETTING where options or prompts do not fit.
     *
     * @param prompts whether prompts were given
     */
    @Nullable
    Chat chat(boolean prompts) {
        if (!chat) {
            Checks.require(system == null, "--system", "no --chat", "--chat with it");
            Checks.require(context == null, "--context", "no --chat", "--chat with it");
            if (!prompts) {
                throw new UserError(Code.BAD_SETTING, "expected --prompt TEXT, --prompts FILE or --chat, found none");
            }
            return null;
        }
        Checks.require(context == null || !prompts, "--context", "prompts", "a conversation: --chat alone");
        if (context != null) {
            Checks.atLeast(64, "--context", context);
        }
        return new Chat(system);
    }

    @Nullable
    Integer context() {
        return context;
    }
}
