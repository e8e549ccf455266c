package dev.optgptq.calibrate.generate;

import static dev.optgptq.calibrate.generate.Generation.greedy;
import static dev.optgptq.calibrate.generate.Generation.joined;
import static dev.optgptq.calibrate.generate.Generation.limits;
import static dev.optgptq.calibrate.generate.Generation.prompt;
import static dev.optgptq.calibrate.generate.Generation.run;
import static dev.optgptq.calibrate.generate.Generation.with;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.generate.Generation.Outcome;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.CharacterTokenizer;
import dev.optgptq.formats.testing.Failures;
import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ops.CacheType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class GeneratorTest {

    @ParameterizedTest
    @CsvSource({"llama-mha, reference", "llama-gqa-rope-llama3, reference", "mpt, reference", "llama-mha, cpu",
            "llama-gqa-rope-llama3, cpu", "mpt, cpu"})
    void everyGreedyTokenIsTheLikeliestOfTheWholeForwardPass(String fixture, String device) {
        with(fixture, device, model -> {
            int[] prompt = prompt(7, 21);
            int[] answer = run(model, limits(CacheType.F32, 6, 1), List.of(greedy(prompt, 64))).answers().getFirst()
                    .tokens();
            assertEquals(64, answer.length);
            float[][] logits = Generation.logits(model, joined(prompt, answer));
            for (int i = 0; i < answer.length; i++) {
                Likeliest.require(logits[prompt.length + i - 1], answer[i], "token " + i + " of the answer");
            }
            return null;
        });
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aPromptHasTheSameAnswerAloneAndAmongOthers(String device) {
        with("llama-gqa-rope-llama3", device, model -> {
            List<Request> requests = requests(12, 3);
            List<Answer> together = run(model, limits(CacheType.F16, 60, 5), requests).answers();
            for (int i = 0; i < requests.size(); i++) {
                Answer alone = run(model, limits(CacheType.F16, 6, 1), List.of(requests.get(i))).answers().getFirst();
                assertArrayEquals(alone.tokens(), together.get(i).tokens(), "request " + i);
            }
            return null;
        });
    }

    /** Five pages hold the longer one, but not beside those that are kept. */
    @ParameterizedTest
    @CsvSource({"12, 16", "5, 0"})
    void aConversationComputesOnlyWhatIsNew(int pages, int reused) {
        with("llama-gqa-rope-llama3", "cpu", model -> {
            int[] first = prompt(11, 21);
            int[] answer = run(model, limits(CacheType.F32, 6, 1), List.of(greedy(first, 20))).answers().getFirst()
                    .tokens();
            int[] changed = joined(Arrays.copyOf(first, 17), prompt(12, 40));
            int[] next = joined(joined(first, answer), prompt(13, 9));
            return PagedModel.use(model, limits(CacheType.F32, pages, 1), paged -> {
                Generator generator = Generator.forConversation(paged, new CharacterTokenizer(), Generation.silent());
                assertArrayEquals(answer, one(generator, greedy(first, 20)));
                assertArrayEquals(run(model, limits(CacheType.F32, 6, 1), List.of(greedy(changed, 20))).answers()
                        .getFirst().tokens(), one(generator, greedy(changed, 20)));
                assertEquals(reused, generator.reused());
                assertArrayEquals(run(model, limits(CacheType.F32, 6, 1), List.of(greedy(next, 20))).answers()
                        .getFirst().tokens(), one(generator, greedy(next, 20)));
                assertEquals(5, generator.pagesInUse());
                return null;
            });
        });
    }

    private static int[] one(Generator generator, Request request) {
        return Objects.requireNonNull(generator.run(List.of(request)).getFirst()).tokens();
    }

    private static List<Request> requests(int count, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        List<Request> requests = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Sampling sampling = i % 2 == 0 ? Sampling.GREEDY : new Sampling(1.3, 40, 0.9, 1.1, 5);
            requests.add(
                    new Request(prompt(random.nextLong(), 1 + random.nextInt(40)), 1 + random.nextInt(40), sampling,
                            i, Set.of(3), List.of(), false));
        }
        return requests;
    }

    @Test
    void aPoolThatIsTooSmallForAllPutsTheNewestBackAndLosesNothing() {
        with("llama-gqa-rope-llama3", "reference", model -> {
            List<Request> requests = requests(40, 11);
            Outcome roomy = run(model, limits(CacheType.F32, 300, 16), requests);
            Outcome tight = run(model, limits(CacheType.F32, 7, 16), requests);
            assertEquals(0, roomy.preemptions());
            assertTrue(tight.preemptions() > 0, "nothing was put back: the test tests nothing");
            assertEquals(0, tight.pagesInUse());
            for (int i = 0; i < requests.size(); i++) {
                assertArrayEquals(roomy.answers().get(i).tokens(), tight.answers().get(i).tokens(), "request " + i);
                assertEquals(tight.answers().get(i).text(), tight.told().get(i), "what was told of request " + i);
            }
            return null;
        });
    }

    @Test
    void aPromptThatBeginsLikeAnotherHasTheSameAnswer() {
        with("mpt", "reference", model -> {
            int[] common = prompt(5, 40);
            List<Request> requests = List.of(greedy(joined(common, prompt(6, 5)), 12),
                    greedy(joined(common, prompt(8, 9)), 12), greedy(common, 12));
            List<Answer> together = run(model, limits(CacheType.F32, 30, 3), requests).answers();
            for (int i = 0; i < requests.size(); i++) {
                int[] alone = run(model, limits(CacheType.F32, 30, 3), List.of(requests.get(i))).answers().getFirst()
                        .tokens();
                assertArrayEquals(alone, together.get(i).tokens(), "request " + i);
            }
            return null;
        });
    }

    @Test
    void anAnswerEndsAtAStopTokenAStopTextItsLengthAndTheEndOfTheContext() {
        with("llama-mha", "reference", model -> {
            int[] prompt = prompt(21, 10);
            Answer whole = run(model, limits(CacheType.F32, 6, 1), List.of(greedy(prompt, 20))).answers().getFirst();
            assertEquals(Finish.LENGTH, whole.finish());
            int stop = whole.tokens()[9];
            Answer byToken = run(model, limits(CacheType.F32, 6, 1), List.of(new Request(prompt, 20, Sampling.GREEDY, 0,
                    Set.of(stop), List.of(), false))).answers().getFirst();
            assertEquals(Finish.STOP_TOKEN, byToken.finish());
            assertTrue(byToken.tokens().length <= 9);
            String text = whole.text().substring(3, 6);
            Outcome byText = run(model, limits(CacheType.F32, 6, 1), List.of(new Request(prompt, 20, Sampling.GREEDY, 0,
                    Set.of(), List.of(text), false)));
            assertEquals(Finish.STOP_TEXT, byText.answers().getFirst().finish());
            String until = whole.text().substring(0, whole.text().indexOf(text));
            assertEquals(until, byText.answers().getFirst().text());
            assertEquals(until, byText.told().getFirst());
            Answer full = run(model, limits(CacheType.F32, 6, 1), List.of(greedy(prompt(1, 90), 20))).answers()
                    .getFirst();
            assertEquals(Finish.CONTEXT, full.finish());
            assertEquals(Generation.POSITIONS - 90, full.tokens().length);
            return null;
        });
    }

    @Test
    void logProbabilitiesAreThoseOfTheWholeForwardPass() {
        with("llama-mha", "reference", model -> {
            int[] prompt = prompt(2, 12);
            Answer answer = run(model, limits(CacheType.F32, 6, 1), List.of(new Request(prompt, 8,
                    new Sampling(1, 0, 1, 1, 9), 0, Set.of(), List.of(), true))).answers().getFirst();
            float[][] logits = Generation.logits(model, joined(prompt, answer.tokens()));
            for (int i = 0; i < 8; i++) {
                assertEquals(Sampler.logProbability(logits[prompt.length + i - 1], answer.tokens()[i]),
                        answer.logProbabilities()[i], 1e-5, "token " + i);
            }
            return null;
        });
    }

    @Test
    void whatIsFinishedBeforeItIsBrokenOffIsKept() {
        with("llama-mha", "reference", model -> {
            Outcome outcome = run(model, limits(CacheType.F32, 12, 2), requests(10, 4), 3);
            long whole = outcome.answers().stream().filter(answer -> answer.finish() != Finish.INTERRUPTED).count();
            assertTrue(whole >= 3 && outcome.answers().size() < 10, () -> "answers " + outcome.answers());
            assertEquals(0, outcome.pagesInUse());
            return null;
        });
    }

    @Test
    void whatCannotBeAnsweredIsSaidBeforeAnythingIsComputed() {
        with("llama-mha", "reference", model -> {
            assertFails(UserError.Code.MEMORY, model, 3, greedy(prompt(1, 30), 40),
                    "70 tokens, which take 5 pages of the cache; found room for 3");
            assertFails(UserError.Code.BAD_TEXT, model, 9, greedy(prompt(1, 96), 1),
                    "expected fewer than 96 tokens");
            assertFails(UserError.Code.BAD_TOKENIZER, model, 9, greedy(new int[] {1, 320}, 1),
                    "token 320 is outside the model's vocabulary of 320");
            return null;
        });
    }

    private static void assertFails(UserError.Code code, Transformer model, int pages, Request request,
            String message) {
        Failures.assertUserError(code, () -> run(model, limits(CacheType.F32, pages, 1), List.of(request)), message);
    }

    @Test
    void aQuantizedCacheStaysCloseToAnExactOne() {
        with("llama-gqa-rope-llama3", "cpu", model -> {
            int[] tokens = prompt(31, 60);
            double exact = PagedModel.use(model, limits(CacheType.F32, 6, 1), paged -> nll(paged, tokens));
            double eight = PagedModel.use(model, limits(CacheType.INT8, 6, 1), paged -> nll(paged, tokens));
            double four = PagedModel.use(model, limits(CacheType.INT4, 6, 1), paged -> nll(paged, tokens));
            assertEquals(exact, eight, 2e-3);
            assertEquals(exact, four, 5e-2);
            assertTrue(exact != eight && eight != four, "the type of the cache makes no difference");
            return null;
        });
    }

    private static double nll(PagedModel paged, int[] tokens) {
        PageTable table = new PageTable(6);
        PageTable.Pages pages = table.open(tokens, tokens.length);
        table.grow(pages, tokens.length);
        double sum = 0;
        for (int i = 0; i + 1 < tokens.length; i++) {
            paged.compute(List.of(new PagedModel.Part(tokens, i, i + 1, pages)));
            sum -= Sampler.logProbability(paged.download(paged.lastLogits(1)), tokens[i + 1]);
        }
        return sum / (tokens.length - 1);
    }
}
