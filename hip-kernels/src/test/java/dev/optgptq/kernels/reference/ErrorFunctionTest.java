package dev.optgptq.kernels.reference;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ErrorFunctionTest {

    /** Values to 17 digits from mpmath with 30. */
    @ParameterizedTest
    @CsvSource({"-6, 2.0", "-2.5, 1.999593047982555", "-1, 1.8427007929497148", "-0.25, 1.276326390168237", "0, 1.0",
            "1e-08, 0.9999999887162083", "0.1, 0.887537083981715", "0.5, 0.4795001221869535",
            "1, 0.15729920705028513", "1.5, 0.033894853524689274", "1.999, 0.004698443348629487",
            "2, 0.004677734981047266", "2.001, 0.00465710928147535", "3, 2.209049699858544e-05",
            "5, 1.537459794428035e-12", "8, 1.1224297172982926e-29", "12, 1.3562611692059042e-64",
            "20, 5.395865611607901e-176", "26, 5.663192408856143e-296", "Infinity, 0", "-Infinity, 2"})
    void theComplementaryErrorFunctionIsRightToThirteenDigits(double x, double expected) {
        assertEquals(expected, ErrorFunction.erfc(x), 1e-13 * Math.abs(expected));
    }

    @Test
    void notANumberStaysSo() {
        assertEquals(Double.NaN, ErrorFunction.erfc(Double.NaN));
    }
}
